//! A server as a process of its own: start, accounting from /proc, end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Failure;

/// A process that was started here and is ended here, by its handle.
pub(crate) struct Server(Child);

impl Server {
    /// Starts `command`; its standard input stays open as long as this value lives.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let name = command.get_program().to_os_string();
        let child = command.stdin(Stdio::piped()).spawn().map_err(|e| format!("{}: {e}", name.display()))?;
        Ok(Self(child))
    }

    /// The first line that it prints. Its standard output must be piped.
    pub(crate) fn first_line(&mut self) -> Result<String, Failure> {
        let output = self.0.stdout.take().ok_or("standard output is not piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// An error when it has ended by itself.
    pub(crate) fn is_alive(&mut self) -> Result<(), Failure> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the server ended: {status}").into()),
        }
    }

    /// CPU time of all its threads so far, user and system, from `/proc/<pid>/stat` (proc(5)); steps of a clock tick.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        ticks(&self.0.id().to_string(), 11)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS in status")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Asks it to stop (SIGTERM), and waits for it.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().try_into()?) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of all processes that were started here and have ended.
pub(crate) fn children() -> Result<Duration, Failure> {
    ticks("self", 13)
}

/// The sum of two fields behind the name in `/proc/<process>/stat`, as a time.
fn ticks(process: &str, first: usize) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').ok_or("no name in stat")?.1;
    let ticks: u64 = after_name.split_whitespace().skip(first).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Bytes of all files below `dir`: as their lengths say, and as the disk holds them.
pub(crate) fn disk(dir: &Path) -> Result<(u64, u64), Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (length, held) = match entry.metadata()? {
            m if m.is_dir() => disk(&entry.path())?,
            m => (m.len(), m.blocks() * 512),
        };
        sum = (sum.0 + length, sum.1 + held);
    }
    Ok(sum)
}
