//! Which estimates of earlier steps a multistep solver has, and in which slots.

/// The estimates kept in history slots, the newest first: (slot, where on the solver's axis).
///
/// All right-hand sides of an update take the old values, so that an estimate can be stored in the
/// slot of the oldest one that the same update reads.
#[derive(Clone, Debug)]
pub(super) struct History<P = f64> {
    first: usize,
    depth: usize,
    held: Vec<(usize, P)>,
}

impl<P> History<P> {
    /// Up to `depth` estimates in the slots from `first` on.
    pub(super) fn new(first: usize, depth: usize) -> Self {
        let held = Vec::with_capacity(depth);
        Self { first, depth, held }
    }

    /// (slot, position) of what is held, the newest first.
    pub(super) fn held(&self) -> &[(usize, P)] {
        &self.held
    }

    /// The slot for a new estimate at `position`, which replaces the oldest where all are taken;
    /// `None` where nothing is kept.
    pub(super) fn push(&mut self, position: P) -> Option<usize> {
        if self.depth == 0 {
            return None;
        }
        let slot = if self.held.len() < self.depth {
            self.first + self.held.len()
        } else {
            self.held.pop()?.0
        };
        self.held.insert(0, (slot, position));
        Some(slot)
    }

    /// Forgets all: after α = 0, or a restart.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }
}

impl History {
    /// Moves the origin of the positions on by a step, so that they are distances from where the
    /// next one starts.
    pub(super) fn advance(&mut self, size: f64) {
        for (_, position) in &mut self.held {
            *position -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::History;

    #[test]
    fn a_new_estimate_takes_the_oldest_ones_slot() {
        let mut history = History::new(1, 2);
        assert_eq!(history.push(0.1), Some(1));
        assert_eq!(history.push(0.2), Some(2));
        assert_eq!(history.held(), [(2, 0.2), (1, 0.1)]);
        assert_eq!(history.push(0.3), Some(1));
        assert_eq!(history.held(), [(1, 0.3), (2, 0.2)]);
        history.advance(0.5);
        assert_eq!(history.held(), [(1, -0.2), (2, -0.3)]);
        history.clear();
        assert!(history.held().is_empty());
        assert_eq!(history.push(0.5), Some(1));
        assert_eq!(History::new(0, 0).push(0.1), None);
    }
}
