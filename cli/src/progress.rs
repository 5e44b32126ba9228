//! Progress on a terminal, for work that takes longer than two seconds.
//!
//! Progress is no part of the result. It goes to standard error, only if that is a terminal, and
//! never beside JSON. It disappears when the work is done.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;

/// Work that is done sooner shows no progress.
const DELAY: Duration = Duration::from_secs(2);

const TICK: Duration = Duration::from_millis(120);

/// The progress that the terminal shows now.
static SHOWN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The progress of one piece of work, until it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Shows the bar after the delay.
    appearance: Option<AbortHandle>,
}

impl Progress {
    /// Starts work without steps: a spinner with the time that has passed.
    pub(crate) fn spinner(work: impl Into<Cow<'static, str>>, json: bool) -> Self {
        Self::start(work.into(), None, "{spinner} {msg} ({elapsed})", json)
    }

    /// Starts work in steps. It has a bar if the number of steps is known.
    pub(crate) fn steps(work: impl Into<Cow<'static, str>>, total: Option<u64>, json: bool) -> Self {
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {human_pos}/{human_len} ({eta} left)",
            None => "{spinner} {msg}: {human_pos} ({elapsed})",
        };
        Self::start(work.into(), total, template, json)
    }

    /// Counts steps that are done.
    pub(crate) fn advance(&self, steps: u64) {
        self.bar.inc(steps);
    }

    fn start(work: Cow<'static, str>, total: Option<u64>, template: &str, json: bool) -> Self {
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden())
            .with_style(style.progress_chars("=> "))
            .with_message(work);
        let is_shown = !json && is_terminal();
        let appearance = is_shown.then(|| tokio::spawn(show_later(bar.clone())).abort_handle());
        Self { bar, appearance }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(appearance) = &self.appearance {
            appearance.abort();
        }
        self.bar.finish_and_clear();
        SHOWN.remove(&self.bar);
    }
}

async fn show_later(bar: ProgressBar) {
    tokio::time::sleep(DELAY).await;
    SHOWN.add(bar.clone());
    bar.enable_steady_tick(TICK);
    // The work may have ended on another thread in the meantime.
    if bar.is_finished() {
        SHOWN.remove(&bar);
    }
}

/// Clears the progress from the terminal while `print` uses it.
pub(crate) fn suspend<T>(print: impl FnOnce() -> T) -> T {
    SHOWN.suspend(print)
}

/// Returns true if standard error is a terminal that can move its cursor.
fn is_terminal() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the terminal is described by the environment")]
    let term = std::env::var("TERM");
    std::io::stderr().is_terminal() && term.is_ok_and(|term| term != "dumb")
}
