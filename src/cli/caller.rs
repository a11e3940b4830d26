//! `oubliette caller`: who may ask. A caller is an application or an officer; its tokens stand in `oubliette token`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::failure::Failure;
use super::out::Out;
use super::secrets::TokenFrom;
use super::target::{Target, success};

const EXAMPLES: &str = "\
Examples:
  oubliette caller put --dir /srv/vault --token-file officer.token \\
      --name webshop --kind service --role writer --purpose a-account --purpose b-service
  oubliette caller put clr_… --dir /srv/vault --token-file officer.token \\
      --name webshop --kind service --role writer --suspended --revoke-tokens
  oubliette caller factor clr_… --dir /srv/vault --token-file officer.token";

/// Needs the token of a security officer. What gives somebody more is a proposal until another officer puts the same.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CallerCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a caller, or say anew what one may do
    Put(Box<Put>),
    /// Enrol a second factor of a person; the one before it stops working
    Factor(Factor),
}

/// What the person's device shares with the vault; shown once.
#[derive(Debug, Args)]
pub(super) struct Factor {
    /// The person's caller
    #[arg(value_name = "CALLER")]
    caller: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

/// What a caller is and may do; all of it is replaced.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Put {
    /// The caller to change; without it a new one is made
    #[arg(value_name = "CALLER")]
    caller: Option<String>,
    #[command(flatten)]
    what: Description,
    /// Its tokens stop working until it is put without this
    #[arg(long)]
    suspended: bool,
    /// Revoke every token of it now
    #[arg(long)]
    revoke_tokens: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: TokenFrom,
}

/// Name, kind, roles and purposes of a caller.
#[derive(Debug, Args)]
pub(super) struct Description {
    /// Display name for officers
    #[arg(long)]
    name: String,
    /// A program or a human being
    #[arg(long)]
    kind: Kind,
    /// Role; may be repeated, though some exclude each other
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<String>,
    /// Purpose that its tokens may grant, such as a-account; may be repeated
    #[arg(long = "purpose", value_name = "PURPOSE")]
    purposes: Vec<String>,
    /// Day of a person's last training
    #[arg(long, value_name = "YYYY-MM-DD")]
    trained: Option<String>,
    /// Region that it works in
    #[arg(long)]
    region: Option<String>,
    /// Source system that it collects for
    #[arg(long)]
    source: Option<String>,
    /// Registered partner that it works for
    #[arg(long)]
    partner: Option<String>,
    /// Whose access tokens of the trusted issuer stand for it
    #[arg(long, value_name = "ISSUER|SUB")]
    external: Option<String>,
    /// Thumbprint (x5t#S256) of the client certificate that it must come with
    #[arg(long, value_name = "THUMBPRINT")]
    certificate: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Service,
    Person,
}

impl CallerCommand {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        match self.action {
            Action::Put(put) => put.run(out),
            Action::Factor(factor) => factor.run(out),
        }
    }
}

impl Factor {
    fn run(self, out: Out) -> Result<(), Failure> {
        let client = self.target.client(Some(self.token.needed()?))?;
        let path = format!("/v1/callers/{}/factors", self.caller);
        let reply = success(client.post(&path, &json!({})).send(), "enrol the factor")?;
        let text = format!("Shown once, for an authenticator app:\n  {}", reply.text("uri"));
        out.result(&text, &reply.body);
        Ok(())
    }
}

impl Put {
    fn run(self, out: Out) -> Result<(), Failure> {
        let put = self;
        let client = put.target.client(Some(put.token.needed()?))?;
        let path = format!("/v1/callers/{}", put.caller.as_deref().unwrap_or("new"));
        let state = if put.suspended { "suspended" } else { "active" };
        let body = put.what.body(state, put.revoke_tokens);
        let reply = success(client.put(&path, &body).send(), "put the caller")?;
        let id = reply.text("id");
        let text = match reply.text("state") {
            "proposed" => format!("{id} is proposed. Another security officer puts the same:\n  oubliette caller put {id} …"),
            state => format!("{id} is {state}."),
        };
        out.result(&text, &reply.body);
        Ok(())
    }
}

impl Description {
    /// The body of putCaller.
    pub(super) fn body(&self, state: &str, revoke_tokens: bool) -> Value {
        let kind = match self.kind {
            Kind::Service => "service",
            Kind::Person => "person",
        };
        json!({
            "name": self.name, "kind": kind, "roles": self.roles, "purposes": self.purposes,
            "state": state, "revoke_tokens": revoke_tokens, "trained_at": self.trained, "region": self.region,
            "source": self.source, "partner": self.partner, "external": self.external, "certificate": self.certificate,
        })
    }
}
