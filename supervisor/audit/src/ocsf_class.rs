//! The classes of OCSF that entries belong to (schema.ocsf.io).
//!
//! Runs in: CLI, exporter.

#[derive(Clone, Copy)]
pub(crate) enum Class {
    File,
    Module,
    Process,
    EventLog,
    Entity,
    Finding,
    Lifecycle,
    Api,
    Http,
}

impl Class {
    pub(crate) const fn uid(self) -> u32 {
        match self {
            Self::File => 1001,
            Self::Module => 1005,
            Self::Process => 1007,
            Self::EventLog => 1008,
            Self::Entity => 3004,
            Self::Finding => 2004,
            Self::Lifecycle => 6002,
            Self::Api => 6003,
            Self::Http => 4002,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::File => "File System Activity",
            Self::Module => "Module Activity",
            Self::Process => "Process Activity",
            Self::EventLog => "Event Log Activity",
            Self::Entity => "Entity Management",
            Self::Finding => "Detection Finding",
            Self::Lifecycle => "Application Lifecycle",
            Self::Api => "API Activity",
            Self::Http => "HTTP Activity",
        }
    }

    pub(crate) const fn category(self) -> (u32, &'static str) {
        match self {
            Self::File | Self::Module | Self::Process | Self::EventLog => (1, "System Activity"),
            Self::Finding => (2, "Findings"),
            Self::Entity => (3, "Identity & Access Management"),
            Self::Http => (4, "Network Activity"),
            Self::Lifecycle | Self::Api => (6, "Application Activity"),
        }
    }
}
