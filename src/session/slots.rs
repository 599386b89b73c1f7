//! How many exec channels may be open at a time on one connection: starts at the target's limit
//! and halves when the server refuses one (`MaxSessions` of sshd counts them). Used by `exec.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most that are ever open at once. sshd allows 10 by default, but frees one only after it has
/// read the next request: exactly 10 failed a third of the time, 9 and 8 never.
pub(crate) const MOST: usize = 8;

/// The slots of a connection.
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    used: usize,
    /// Permits to take away when they come back, because they were out when the limit fell.
    debt: usize,
    /// Counts the shrinkings, so that refusals of one burst count once.
    generation: u64,
    /// Since when the server opens nothing at all: first refusal of the only channel asked for,
    /// with no success since.
    barren_since: Option<Instant>,
}

/// Leave to open one channel; gives the slot back on drop.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
    generation: u64,
}

impl Slots {
    /// Returns `limit` slots, 1 to [`MOST`].
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let limit = limit.clamp(1, MOST);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(limit)),
            state: Mutex::new(State { limit, used: 0, debt: 0, generation: 0, barren_since: None }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many may be open at a time now.
    pub(crate) fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits for a slot, first come first served. Dropping the future gives the place up.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Slot {
        // The semaphore is never closed; without a permit the slot is merely not counted back.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let mut state = self.state();
        state.used += 1;
        let generation = state.generation;
        drop(state);
        Slot { slots: Arc::clone(self), permit, generation }
    }
}

/// What the server's refusal of a channel means for who asked.
pub(crate) enum Refused {
    /// Others of ours are open: ask again when it is this one's turn.
    Queue,
    /// None of ours is open: ask again in a moment, with the same slot, so that the others do not
    /// ask meanwhile. How long the server has opened nothing at all.
    Alone(Slot, Duration),
}

impl Slot {
    /// The server opened the channel.
    pub(crate) fn granted(&self) {
        self.slots.state().barren_since = None;
    }

    /// The server refused the channel: halves the limit, unless that happened already since this
    /// slot was taken.
    pub(crate) fn refused(mut self) -> Refused {
        let slots = Arc::clone(&self.slots);
        let mut state = slots.state();
        if state.generation == self.generation && state.limit > 1 {
            let lower = state.limit / 2;
            let surplus = state.limit - lower;
            state.debt += surplus - slots.free.forget_permits(surplus);
            state.limit = lower;
            state.generation += 1;
        }
        self.generation = state.generation;
        if state.used > 1 {
            drop(state);
            return Refused::Queue;
        }
        let since = *state.barren_since.get_or_insert_with(Instant::now);
        drop(state);
        Refused::Alone(self, since.elapsed())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.used = state.used.saturating_sub(1);
        if let Some(permit) = self.permit.take()
            && state.debt > 0
        {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn take(slots: &Arc<Slots>) -> Option<Slot> {
        slots.acquire().now_or_never()
    }

    #[test]
    fn a_burst_of_refusals_halves_once() {
        let slots = Slots::new(8);
        let mut held: Vec<Slot> = (0..8).map(|_| take(&slots).unwrap()).collect();
        assert!(take(&slots).is_none());
        let admitted = held.pop().unwrap();
        for slot in held {
            assert!(matches!(slot.refused(), Refused::Queue));
        }
        assert_eq!(slots.limit(), 4);
        let next: Vec<Slot> = (0..3).map(|_| take(&slots).unwrap()).collect();
        assert!(take(&slots).is_none(), "4 with the admitted one");
        for slot in next {
            slot.refused();
        }
        assert_eq!(slots.limit(), 2);
        take(&slots).unwrap().refused();
        assert_eq!(slots.limit(), 1);
        assert!(take(&slots).is_none());
        drop(admitted);
        let Refused::Alone(last, _) = take(&slots).unwrap().refused() else { panic!("nothing else is open") };
        assert_eq!(slots.limit(), 1, "never none");
        assert!(take(&slots).is_none(), "who is refused alone keeps the slot");
        drop(last);
        assert!(take(&slots).is_some());
    }

    #[test]
    fn shrinking_takes_free_slots_too() {
        let slots = Slots::new(8);
        take(&slots).unwrap().refused();
        let held: Vec<_> = (0..4).map(|_| take(&slots).unwrap()).collect();
        assert!(take(&slots).is_none());
        drop(held);
        assert!(take(&slots).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_opens_nothing_is_told_from_a_busy_one() {
        let slots = Slots::new(1);
        let second = Duration::from_secs(1);
        let barren = |slot: Slot| match slot.refused() {
            Refused::Alone(slot, time) => (slot, time),
            Refused::Queue => panic!("nothing else is open"),
        };
        let (slot, time) = barren(take(&slots).unwrap());
        assert_eq!(time, Duration::ZERO);
        tokio::time::sleep(second).await;
        let (slot, time) = barren(slot);
        assert_eq!(time, second);
        drop(slot);
        tokio::time::sleep(second).await;
        let (slot, time) = barren(take(&slots).unwrap());
        assert_eq!(time, second * 2, "the time is the connection's, whoever asks");
        slot.granted();
        let (_, time) = barren(slot);
        assert_eq!(time, Duration::ZERO);
    }

    #[test]
    fn a_dropped_wait_loses_no_slot() {
        let slots = Slots::new(1);
        let held = take(&slots).unwrap();
        assert!(take(&slots).is_none());
        drop(held);
        assert!(take(&slots).is_some());
    }

    #[test]
    fn limits_are_clamped() {
        assert_eq!(Slots::new(0).limit(), 1);
        assert_eq!(Slots::new(99).limit(), MOST);
    }
}
