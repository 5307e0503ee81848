//! Policies that lie in one directory.
//!
//! Runs in: daemon (a directory of them) and command line.

use std::collections::BTreeMap;
use std::path::Path;

use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::names::ModuleName;
use crate::policy::Place;
use crate::policy::Policy;

/// What is wrong with policies as a set: a module named by two of them.
#[must_use]
pub fn check_set<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Diagnostics {
    let mut found = Diagnostics::default();
    let mut first: BTreeMap<&ModuleName, &Policy> = BTreeMap::new();
    for policy in policies {
        match first.get(&policy.name) {
            Some(other) => {
                let message = format!("two policies name the module `{}`", policy.name);
                let diagnostic = policy.diagnostic(Code::SameModule, message, Place::Name, "the same name again");
                let help = "remove one of the two files, or give one module another name";
                found.push(diagnostic.also(&other.source, other.span(Place::Name), "named here first").help(help));
            }
            None => {
                first.insert(&policy.name, policy);
            }
        }
    }
    found
}

impl Policy {
    /// Warns where the file is not called after its module.
    #[must_use]
    pub fn check_file_name(&self) -> Diagnostics {
        let stem = Path::new(self.file_name()).file_stem().and_then(|s| s.to_str());
        if stem == Some(self.name.as_str()) {
            return Diagnostics::default();
        }
        let message = format!("policy of module `{}` is not in `{}.toml`", self.name, self.name);
        let help = format!("call the file `{}.toml`", self.name);
        self.diagnostic(Code::FileName, message, Place::Name, "named here").help(help).into()
    }
}
