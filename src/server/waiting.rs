//! What answers while a restore is under way: health, and how far it is. Everything else is told to come back.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::watch;

use super::{Bound, listen, pages, problem};
use crate::vault::restoring;

/// Between two looks at the restore.
const LOOK: Duration = Duration::from_millis(500);

impl Bound {
    /// Answers until no restore into `dir` is under way any more, or `shutdown` comes; the listener is free then.
    pub async fn wait_for_restore(self, dir: &Path, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let folder = dir.to_owned();
        let answer = move |request: Request<Incoming>, _peer| {
            let folder = folder.clone();
            async move { answer(&folder, request.uri().path()) }
        };
        let over = async {
            while restoring::look(dir).is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = async {
            tokio::select! { () = over => {}, () = shutdown => {} }
        };
        let limits = self.config.limits.clone();
        // Nothing is open, so nothing is sealed.
        let (_nobody, sealings) = watch::channel(0);
        listen::run(self.listener, self.certificates, &limits, answer, sealings, ended).await;
        Ok(())
    }
}

fn answer(dir: &Path, path: &str) -> Response {
    if path == "/healthz" {
        return pages::healthy();
    }
    let seen = restoring::look(dir).unwrap_or_default();
    let body = json!({"status": "not-ready", "reason": "restoring", "step": seen.step, "done": seen.done, "total": seen.total});
    let mut response = pages::page("/readyz", pages::JSON, body.to_string());
    *response.status_mut() = problem::readiness(false);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
