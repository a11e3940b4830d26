//! A bar for people while a backup is tried or restored.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::out::Out;
use crate::backup::{Progress, Step};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Does `work`, and shows meanwhile how far `progress` has come: to people at a terminal, nobody else.
pub(super) fn watching<T>(out: Out, progress: &Progress, work: impl FnOnce() -> T) -> T {
    if out.is_json() || !std::io::stderr().is_terminal() {
        return work();
    }
    std::thread::scope(|threads| {
        let (done, waits) = channel::<()>();
        threads.spawn(move || {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let mut last = Step::Waiting;
            while let Err(RecvTimeoutError::Timeout) = waits.recv_timeout(LOOK) {
                let (step, so_far, total) = progress.now();
                if step != last {
                    bar.reset();
                    bar.set_style(style(step));
                    last = step;
                }
                bar.set_length(total);
                bar.set_position(so_far.min(total));
                bar.set_message(words(step));
            }
            bar.finish_and_clear();
        });
        let made = work();
        drop(done);
        made
    })
}

fn style(step: Step) -> ProgressStyle {
    let template = match step {
        Step::Reading => "{bar:30} {human_pos} of {human_len} people, {msg}",
        _ => "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} left",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Waiting => "looking at the backup",
        Step::Files => "reading every file",
        Step::Rows => "loading rows",
        Step::Trail => "writing the trail",
        Step::Reading => "reading people and comparing rows",
        Step::Done => "done",
    }
}
