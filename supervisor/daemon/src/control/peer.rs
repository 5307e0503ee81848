//! Who may ask for what.
//!
//! Runs in: daemon.
//! The daemon's own user and root administer. Others need to be named in `edgeguard.toml`, as `admins` or as `invokers`.

use edgeguard_policy::HostConfig;
use edgeguard_policy::Http;
use edgeguard_policy::Principal;

/// What each peer may do, resolved once.
#[derive(Debug)]
pub struct Rights {
    own_uid: u32,
    admins: Vec<Id>,
    invokers: Vec<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    User(u32),
    Group(u32),
}

/// One peer and its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user id.
    pub uid: u32,
    /// Reload, and whatever else changes the daemon.
    pub may_administer: bool,
    /// Invoke modules.
    pub may_invoke: bool,
    /// Anything at all.
    pub may_ask: bool,
}

impl Rights {
    /// Resolves the names of the host's file. A name that does not resolve gives no rights, and is said.
    #[must_use]
    pub fn new(host: &HostConfig) -> Self {
        let own_uid = rustix::process::geteuid().as_raw();
        Self {
            own_uid,
            admins: host.admins.iter().filter_map(resolve).collect(),
            invokers: host.invokers.iter().filter_map(resolve).collect(),
        }
    }

    /// The same for the clients of a module that serves at a Unix socket, where those count whom its policy names.
    #[must_use]
    pub fn for_clients(host: &HostConfig, http: &Http) -> Self {
        match &http.clients {
            None => Self::new(host),
            Some(clients) => Self { admins: Vec::new(), invokers: clients.iter().filter_map(resolve).collect(), ..Self::new(host) },
        }
    }

    /// The rights of this peer.
    #[must_use]
    pub fn of(&self, uid: u32, gid: u32) -> Peer {
        let named = |ids: &[Id]| ids.contains(&Id::User(uid)) || ids.contains(&Id::Group(gid));
        let may_administer = uid == 0 || uid == self.own_uid || named(&self.admins);
        let may_invoke = may_administer || named(&self.invokers);
        Peer { uid, may_administer, may_invoke, may_ask: may_invoke }
    }
}

fn resolve(principal: &Principal) -> Option<Id> {
    let id = match principal {
        Principal::Uid(uid) => Some(Id::User(*uid)),
        Principal::Gid(gid) => Some(Id::Group(*gid)),
        Principal::User(name) => uzers::get_user_by_name(name).map(|user| Id::User(user.uid())),
        Principal::Group(name) => uzers::get_group_by_name(name).map(|group| Id::Group(group.gid())),
    };
    if id.is_none() {
        tracing::error!(?principal, "this name is not known on this host; it gets no rights");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights() -> Rights {
        Rights { own_uid: 500, admins: vec![Id::User(1000)], invokers: vec![Id::Group(2000)] }
    }

    #[test]
    fn root_and_the_daemons_user_administer() {
        assert!(rights().of(0, 0).may_administer);
        assert!(rights().of(500, 500).may_administer);
    }

    #[test]
    fn a_named_admin_also_invokes() {
        let peer = rights().of(1000, 1);
        assert!(peer.may_administer && peer.may_invoke);
    }

    #[test]
    fn an_invoker_by_group_does_not_administer() {
        let peer = rights().of(7, 2000);
        assert!(peer.may_invoke && !peer.may_administer);
    }

    #[test]
    fn a_stranger_may_nothing() {
        assert!(!rights().of(7, 7).may_ask);
    }
}
