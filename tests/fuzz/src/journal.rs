//! What a disk, or somebody who can write to it, made of the journal.
