//! Whether a symbolic link on the way to what a policy names may be followed. One rule, for the daemon that opens paths and for the check that looks at them.
//!
//! Runs in: daemon and command line.
//! Invariant: nobody but root can lead a way elsewhere. A link is followed only where root made it, and every directory from `/` to it belongs to root with
//! nobody else writing in it.
//! Does not: look at a file system; whoever walks says what is met.

/// Links one after another in one path; the kernel's own bound.
const MAX_LINKS: usize = 40;

/// Write for the group, and for all others.
const OTHERS_WRITE: u32 = 0o022;

/// A way, as far as it was walked.
#[derive(Debug, Clone, Copy)]
pub struct Trail {
    roots_alone: bool,
    links: usize,
}

impl Trail {
    /// The beginning of a way. One that does not begin at `/` leads through what nobody has looked at.
    #[must_use]
    pub const fn begin(at_root: bool) -> Self {
        Self { roots_alone: at_root, links: 0 }
    }

    /// It goes on from this directory, by its owner and mode.
    pub const fn through(&mut self, uid: u32, mode: u32) {
        self.roots_alone = self.roots_alone && uid == 0 && mode & OTHERS_WRITE == 0;
    }

    /// Whether a link that is met here may be followed, by its owner.
    pub const fn follows(&mut self, uid: u32) -> bool {
        self.links += 1;
        self.roots_alone && uid == 0 && self.links <= MAX_LINKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_links_in_directories_of_roots_alone_are_followed() {
        let follows = |dirs: &[(u32, u32)], link: u32| {
            let mut trail = Trail::begin(true);
            dirs.iter().for_each(|(uid, mode)| trail.through(*uid, *mode));
            trail.follows(link)
        };
        assert!(follows(&[(0, 0o040_755), (0, 0o040_700)], 0));
        assert!(!follows(&[(0, 0o040_755)], 1000));
        for (uid, mode) in [(0, 0o040_775), (0, 0o041_777), (0, 0o040_757), (1000, 0o040_700)] {
            // Wherever on the way it is, and whatever follows it.
            assert!(!follows(&[(uid, mode)], 0) && !follows(&[(0, 0o040_755), (uid, mode), (0, 0o040_755)], 0), "{mode:o} {uid}");
        }
        assert!(!Trail::begin(false).follows(0));
    }

    #[test]
    fn links_that_lead_to_links_end() {
        let mut trail = Trail::begin(true);
        assert_eq!((0..100).filter(|_| trail.follows(0)).count(), MAX_LINKS);
    }
}
