//! What is to become of each grant, and the words that say why.
//!
//! Runs in: command line.

use super::DirUse;
use super::Observed;
use super::Seen;
use super::Wants;
use super::word;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::policy::GraphGrant;
use crate::policy::Policy;
use crate::policy::Quota;
use crate::source::escape;

/// What becomes of one entry of the text.
pub(super) struct Fate {
    /// Whether it stays.
    pub(super) keep: bool,
    /// The access it is given; of directories only.
    pub(super) access: Option<Access>,
    /// Why, a line each.
    pub(super) why: Vec<String>,
}

/// What becomes of a text.
pub(super) struct Plan {
    pub(super) header: Vec<String>,
    pub(super) dirs: Vec<Fate>,
    pub(super) graphs: Vec<Fate>,
    /// Used, and not in the text.
    pub(super) new_dirs: Vec<(DirGrant, Vec<String>)>,
    /// The same, by their place in the policy that was observed.
    pub(super) new_graphs: Vec<(GraphGrant, usize, Vec<String>)>,
    /// Whether the environment stays, and why.
    pub(super) env: Fate,
    /// Whether the arguments stay, and why.
    pub(super) args: Fate,
    /// What was refused, at the end of the file.
    pub(super) footer: Vec<String>,
}

impl Plan {
    pub(super) fn new(base: &Policy, text: &Policy, observed: &Observed) -> Self {
        let runs = observed.runs;
        let dirs = text.dirs.iter().map(|grant| {
            let index = base.dirs.iter().position(|other| other.guest == grant.guest && other.host == grant.host);
            index
                .and_then(|i| observed.dirs.get(i))
                .map_or_else(|| nobody_knows(Some(grant.access)), |used| dir(base, used, grant.access, runs))
        });
        let graphs = text.graphs.iter().map(|grant| {
            let index = base.graphs.iter().position(|other| same_graph(other, grant));
            index.and_then(|i| observed.graphs.get(i)).map_or_else(|| nobody_knows(None), |seen| plain(seen.as_ref(), "used", runs))
        });
        let absent = |grant: &DirGrant| !text.dirs.iter().any(|other| other.guest == grant.guest && other.host == grant.host);
        let new_dirs =
            base.dirs.iter().zip(&observed.dirs).filter(|(grant, used)| absent(grant) && used.used.is_some()).map(|(grant, used)| {
                let fate = dir(base, used, grant.access, runs);
                (narrowed(grant, &fate), fate.why)
            });
        let absent = |grant: &GraphGrant| !text.graphs.iter().any(|other| same_graph(other, grant));
        let new_graphs = base.graphs.iter().zip(&observed.graphs).enumerate().filter_map(|(index, (grant, seen))| {
            let seen = seen.as_ref().filter(|_| absent(grant))?;
            Some((grant.clone(), index, vec![evidence("used", seen, runs)]))
        });
        // What the module is told changes nothing that it can reach, but what it never asks for need not be told.
        let env = if text.env == base.env { plain(observed.environment.as_ref(), "asked for", runs) } else { nobody_knows(None) };
        let args = if text.args == base.args { plain(observed.arguments.as_ref(), "asked for", runs) } else { nobody_knows(None) };
        Self {
            header: observed.header.clone(),
            dirs: dirs.collect(),
            graphs: graphs.collect(),
            new_dirs: new_dirs.collect(),
            new_graphs: new_graphs.collect(),
            env,
            args,
            footer: footer(base, observed),
        }
    }

    /// Whether `after` is `before` with this done to it, and nothing else.
    pub(super) fn holds(&self, before: &Policy, after: &Policy) -> bool {
        let kept = before.dirs.iter().zip(&self.dirs).filter(|(_, fate)| fate.keep);
        let dirs = kept.map(|(grant, fate)| narrowed(grant, fate));
        let dirs: Vec<DirGrant> = dirs.chain(self.new_dirs.iter().map(|(grant, _)| grant.clone())).collect();
        let kept = before.graphs.iter().zip(&self.graphs).filter(|(_, fate)| fate.keep);
        let graphs: Vec<GraphGrant> =
            kept.map(|(grant, _)| grant.clone()).chain(self.new_graphs.iter().map(|(grant, ..)| grant.clone())).collect();
        let env = if self.env.keep { before.env.clone() } else { Default::default() };
        let args = if self.args.keep { before.args.clone() } else { Vec::new() };
        let rest = |p: &Policy| {
            (p.name.clone(), p.path.clone(), p.mode, p.http.clone(), p.revision, p.min_version, p.limits, (p.floor, p.preferred), p.privacy)
        };
        (&dirs, &graphs, &env, &args) == (&after.dirs, &after.graphs, &after.env, &after.args)
            && rest(before) == rest(after)
            && (&before.signers, &before.requirements) == (&after.signers, &after.requirements)
    }
}

/// The grant as it becomes. What is only read has no quota: the keys would have no meaning.
fn narrowed(grant: &DirGrant, fate: &Fate) -> DirGrant {
    let access = fate.access.unwrap_or(grant.access);
    let quota = if access == Access::Read { Quota::default() } else { grant.quota };
    DirGrant { access, quota, ..grant.clone() }
}

fn same_graph(a: &GraphGrant, b: &GraphGrant) -> bool {
    let weights = |grant: &GraphGrant| grant.weights.as_ref().map(|weights| weights.sha256);
    a.name == b.name && a.sha256 == b.sha256 && weights(a) == weights(b)
}

fn dir(base: &Policy, used: &DirUse, access: Access, runs: u64) -> Fate {
    let Some(seen) = &used.used else { return plain(None, "used", runs) };
    let mut why = vec![evidence("used", seen, runs)];
    // A directory that was granted for reading only was not written, whatever else is unclear.
    let unclear = used.unclear.as_ref().filter(|_| used.written.is_none() && base.dirs.iter().any(|dir| dir.access == Access::ReadWrite));
    why.extend(used.written.as_ref().map(|seen| evidence("written", seen, runs)));
    why.extend(unclear.map(|seen| {
        format!(
            "{}: whether that changed something its record does not say, so `{}` stays",
            evidence("opened or moved to", seen, runs),
            word(access)
        )
    }));
    if used.opens.all > 0 {
        why.push(format!("opened for reading in {} of {} opens", used.opens.to_read, used.opens.all));
    }
    let access = match (&used.written, unclear) {
        (Some(_), _) => Access::ReadWrite,
        (None, Some(_)) => access,
        (None, None) => Access::Read,
    };
    Fate { keep: true, access: Some(access), why }
}

fn plain(seen: Option<&Seen>, verb: &str, runs: u64) -> Fate {
    match seen {
        Some(seen) => Fate { keep: true, access: None, why: vec![evidence(verb, seen, runs)] },
        None => Fate { keep: false, access: None, why: vec![format!("not {verb} in any of {runs} runs, and so taken away")] },
    }
}

/// An entry that the observed policy did not have.
fn nobody_knows(access: Option<Access>) -> Fate {
    Fate { keep: true, access, why: vec!["no evidence: the policy that was observed did not have this".to_owned()] }
}

fn evidence(verb: &str, seen: &Seen, runs: u64) -> String {
    format!("{verb} in {} of {runs} runs, {} to {}, record {}", seen.runs, seen.first, seen.last, seen.uid)
}

/// What was refused, and what would have allowed it, as lines that have no effect.
fn footer(base: &Policy, observed: &Observed) -> Vec<String> {
    let mut lines = Vec::new();
    for refused in &observed.refused {
        lines.push(evidence(&format!("refused: {}", escape(&refused.what)), &refused.seen, observed.runs));
        match &refused.wants {
            Wants::Write(index) => {
                let guest = base.dirs.get(*index).map_or("", |dir| dir.guest.as_str());
                lines.push(format!("  would be allowed by `access = \"read-write\"` for `{guest}`, if that is what it is refused for"));
            }
            Wants::Graph(name) => {
                lines.push("  would be allowed by".to_owned());
                lines.push("    [[graph]]".to_owned());
                lines.push(format!("    name = {:?}", escape(name)));
            }
            Wants::Unknown => {
                lines.push("  what would allow it cannot be said: the journal does not keep what was named".to_owned());
            }
            Wants::Nothing => lines.push("  no grant allows it".to_owned()),
        }
    }
    lines
}
