//! One row of a table, and the little language of its argument checks.
//!
//! Runs in: worker, graph host, compiler.

/// A system call that is let through when all its arguments are as stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Number on this architecture.
    pub syscall: i64,
    /// Name, as in the manual.
    pub name: &'static str,
    /// What must hold; nothing for any arguments.
    pub arguments: &'static [Argument],
    /// Who needs it.
    pub why: &'static str,
}

/// A check of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Position, from 0.
    pub index: u8,
    /// What must hold.
    pub condition: Condition,
}

/// What must hold of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The low 32 bits, which are all that the kernel looks at for an `int`, are this.
    Is(u32),
    /// The low 32 bits are not this.
    IsNot(u32),
    /// Of the low 32 bits, those in the mask are as in the value.
    Masked {
        /// Bits that count.
        mask: u32,
        /// Their value.
        value: u32,
    },
    /// All 64 bits are zero: a null pointer.
    Null,
    /// Not all 64 bits are zero.
    NotNull,
    /// The low 32 bits are this process's id.
    OwnProcess,
}

/// Starts a check of the argument at `index`, counted from 0.
pub const fn arg(index: u8) -> At {
    At(index)
}

/// An argument position, before it is said what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct At(u8);

impl At {
    const fn check(self, condition: Condition) -> Argument {
        Argument { index: self.0, condition }
    }

    /// Must be `value`, compared as a C `int`.
    pub const fn is(self, value: i32) -> Argument {
        self.check(Condition::Is(value as u32))
    }

    /// Must be anything but `value`, compared as a C `int`.
    pub const fn is_not(self, value: i32) -> Argument {
        self.check(Condition::IsNot(value as u32))
    }

    /// May have none of these bits.
    pub const fn without(self, bits: i32) -> Argument {
        self.check(Condition::Masked { mask: bits as u32, value: 0 })
    }

    /// The bits in `mask` must be exactly `value`.
    pub const fn masked(self, mask: u32, value: u32) -> Argument {
        self.check(Condition::Masked { mask, value })
    }

    /// Must be a null pointer.
    pub const fn null(self) -> Argument {
        self.check(Condition::Null)
    }

    /// Must be a pointer to something.
    pub const fn not_null(self) -> Argument {
        self.check(Condition::NotNull)
    }

    /// Must be the id of the process itself.
    pub const fn own_process(self) -> Argument {
        self.check(Condition::OwnProcess)
    }
}

/// `call!(SYS_read, "reason")`, `call!(SYS_mmap, [arg(2).without(PROT_EXEC)], "reason")`: the name is checked by the compiler.
macro_rules! call {
    ($syscall:ident, $why:literal) => {
        call!($syscall, [], $why)
    };
    ($syscall:ident, [$($argument:expr),*], $why:literal) => {
        $crate::rules::Rule {
            syscall: ::libc::$syscall,
            name: $crate::rules::manual_name(stringify!($syscall)),
            arguments: &[$($argument),*],
            why: $why,
        }
    };
}
pub(crate) use call;

/// `SYS_read` is `read` in the manual.
pub(crate) const fn manual_name(constant: &'static str) -> &'static str {
    match constant.split_at_checked("SYS_".len()) {
        Some((_, name)) => name,
        None => constant,
    }
}
