//! From written to durable: one thread syncs, many wait for the same sync.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use super::TrailError;

/// How long a sync that nobody waits for may be put off.
const LAZY: Duration = Duration::from_millis(8);

/// What must have happened to the entry of a read before its answer is released (`trail.reads`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The entry is durable: no power cut takes it back.
    Durable,
    /// The entry was handed to the operating system, and becomes durable within 10 ms.
    Written,
}

/// Entries that were appended and may not be durable yet.
#[derive(Debug)]
#[must_use = "an entry counts only once it is durable"]
pub struct Ticket {
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Ticket {
    /// Index of the first of them; the others follow.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn receipt(self, mode: Mode) -> Receipt {
        Receipt { first: self.first, count: self.count, mode }
    }
}

/// Proof that entries are in the trail: only the trail makes one, and it cannot be copied.
#[derive(Debug)]
#[must_use = "a receipt is what releases an answer"]
pub struct Receipt {
    first: u64,
    count: u64,
    mode: Mode,
}

impl Receipt {
    /// Index of the first entry that it is for.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many entries it is for.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What was waited for.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

/// How far the trail is written and durable, and who waits.
#[derive(Default)]
pub(super) struct Flow {
    synced: AtomicU64,
    failed: AtomicBool,
    urgent: AtomicBool,
    lazy: AtomicBool,
    stop: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
    waiters: Mutex<Vec<Waiter>>,
}

impl Flow {
    /// A flow whose first `synced` entries are durable.
    pub(super) fn at(synced: u64) -> Self {
        Self { synced: AtomicU64::new(synced), ..Self::default() }
    }

    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// No entry is taken or released from now on.
    pub(super) fn poison(&self) {
        self.failed.store(true, Ordering::Release);
        self.wake_until(u64::MAX);
    }

    /// Entries below `end` are durable.
    pub(super) fn advance(&self, end: u64) {
        self.synced.store(end, Ordering::Release);
        self.wake_until(end);
    }

    /// Asks for a sync now.
    pub(super) fn urge(&self) {
        self.raise(&self.urgent);
    }

    /// Asks for a sync within 10 ms.
    pub(super) fn mind(&self) {
        self.raise(&self.lazy);
    }

    pub(super) fn stop(&self) {
        self.raise(&self.stop);
    }

    /// Sleeps until a sync is due, and takes the wishes that it will fulfil; false once the flow was stopped.
    pub(super) fn due(&self) -> bool {
        let mut gate = self.gate.lock();
        let set = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        while !set(&self.urgent) && !set(&self.lazy) && !set(&self.stop) {
            self.wake.wait(&mut gate);
        }
        let deadline = Instant::now() + LAZY;
        while !set(&self.urgent) && !set(&self.stop) && !self.wake.wait_until(&mut gate, deadline).timed_out() {}
        // Cleared before the size is read: whoever asks from here on is asking for the sync after this one.
        self.urgent.store(false, Ordering::SeqCst);
        self.lazy.store(false, Ordering::SeqCst);
        !set(&self.stop)
    }

    /// Waits until the entries of the ticket are durable. May be dropped at any time.
    pub(super) async fn durable(&self, ticket: Ticket) -> Result<Receipt, TrailError> {
        Durable { flow: self, end: ticket.first + ticket.count, known: None }.await?;
        Ok(ticket.receipt(Mode::Durable))
    }

    pub(super) fn durable_blocking(&self, ticket: Ticket) -> Result<Receipt, TrailError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut durable = Durable { flow: self, end: ticket.first + ticket.count, known: None };
        loop {
            match Pin::new(&mut durable).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(done) => return done.map(|()| ticket.receipt(Mode::Durable)),
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Releases at once; the sync follows.
    pub(super) fn written(&self, ticket: Ticket) -> Result<Receipt, TrailError> {
        if self.is_failed() {
            return Err(TrailError::Poisoned);
        }
        self.mind();
        Ok(ticket.receipt(Mode::Written))
    }

    fn raise(&self, flag: &AtomicBool) {
        if !flag.swap(true, Ordering::SeqCst) {
            let _gate = self.gate.lock();
            self.wake.notify_one();
        }
    }

    fn wake_until(&self, end: u64) {
        let mut ready: Vec<_> = self.waiters.lock().extract_if(.., |waiter| waiter.wanted <= end).collect();
        // Waking a task from outside its runtime costs a system call; from inside, next to nothing.
        let runtime = if ready.len() > 1 { ready.iter_mut().find_map(|waiter| waiter.runtime.take()) } else { None };
        let wake = move || ready.into_iter().for_each(|waiter| waiter.waker.wake());
        match runtime {
            Some(runtime) => drop(runtime.spawn(async move { wake() })),
            None => wake(),
        }
    }
}

/// Who waits for the entries below `wanted`.
struct Waiter {
    wanted: u64,
    waker: Waker,
    runtime: Option<Handle>,
}

/// Ready once everything below `end` is durable, or the flow failed.
struct Durable<'a> {
    flow: &'a Flow,
    end: u64,
    /// The waker that stands among the waiters.
    known: Option<Waker>,
}

impl Durable<'_> {
    fn done(&self) -> Option<Result<(), TrailError>> {
        if self.flow.synced() >= self.end { Some(Ok(())) } else { self.flow.is_failed().then_some(Err(TrailError::Poisoned)) }
    }
}

impl Future for Durable<'_> {
    type Output = Result<(), TrailError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(done) = self.done() {
            return Poll::Ready(done);
        }
        let waker = context.waker();
        if !self.known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            let waiter = Waiter { wanted: self.end, waker: waker.clone(), runtime: Handle::try_current().ok() };
            self.flow.waiters.lock().push(waiter);
            self.known = Some(waker.clone());
            self.flow.urge();
        }
        // The sync may have ended between the first look and the entry into the list.
        self.done().map_or(Poll::Pending, Poll::Ready)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
