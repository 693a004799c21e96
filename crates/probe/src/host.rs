//! The machine as it is now: processes, listening sockets and connections, and which process they belong to.
//!
//! One snapshot is read at the beginning of a diagnosis; what must be fresh is asked for again by a check. Nothing is changed.

pub mod cgroup;
pub mod counters;
pub mod process;
pub mod product;
pub mod sockets;

use std::collections::{BTreeMap, HashMap};

use process::Process;
use product::{Product, Role};
use sockets::{Address, Socket, State};

/// Processes, and the sockets of the network namespaces that matter.
#[derive(Debug, Default)]
pub struct Host {
    pub processes: BTreeMap<u32, Process>,
    /// Sockets by the namespace they are in.
    pub sockets: BTreeMap<u64, Vec<Socket>>,
    /// Which processes have a socket open, by its inode. Empty for sockets of processes that may not be looked into.
    pub owners: HashMap<u64, Vec<u32>>,
    /// The namespace of this process.
    pub own_netns: u64,
    /// Whether the descriptors of other users' processes could be read.
    pub sees_all: bool,
}

impl Host {
    /// Reads the machine.
    pub fn read() -> Host {
        let processes = process::all();
        let own_netns = process::namespace(std::process::id(), "net").unwrap_or(0);
        let mut owners: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut sees_all = true;
        for pid in processes.keys() {
            match process::sockets_of(*pid) {
                Some(inodes) => {
                    inodes.into_iter().for_each(|inode| owners.entry(inode).or_default().push(*pid))
                }
                None => sees_all = false,
            }
        }
        let mut sockets = BTreeMap::from([(own_netns, sockets::of_process(std::process::id()))]);
        // Others only where a process of a product is: each costs the reading of its tables.
        for process in processes.values().filter(|process| process.product.is_some()) {
            if let Some(netns) = process.netns {
                sockets.entry(netns).or_insert_with(|| sockets::of_process(process.pid));
            }
        }
        Host { processes, sockets, owners, own_netns, sees_all }
    }

    /// Who listens at an address, in a namespace: sockets bound to it, or to all addresses of its port.
    pub fn listeners(&self, netns: u64, address: &Address) -> Vec<&Socket> {
        let sockets = self.sockets.get(&netns).map(Vec::as_slice).unwrap_or_default();
        sockets
            .iter()
            .filter(|socket| socket.state == State::Listen && socket.local.serves(address))
            .collect()
    }

    /// Every listening socket of a namespace.
    pub fn listening(&self, netns: u64) -> impl Iterator<Item = &Socket> {
        self.sockets.get(&netns).into_iter().flatten().filter(|socket| socket.state == State::Listen)
    }

    /// The processes that have a socket open, in the order of their pids.
    pub fn owners_of(&self, socket: &Socket) -> Vec<&Process> {
        let pids = self.owners.get(&socket.inode).map(Vec::as_slice).unwrap_or_default();
        let mut owners: Vec<&Process> = pids.iter().filter_map(|pid| self.processes.get(pid)).collect();
        owners.sort_by_key(|process| process.pid);
        owners
    }

    /// The topmost process of the same product: the master of a worker, itself for a master.
    pub fn master_of<'a>(&'a self, process: &'a Process) -> &'a Process {
        let mut master = process;
        while let Some(parent) = self.processes.get(&master.ppid)
            && parent.product.is_some()
            && parent.product == process.product
        {
            master = parent;
        }
        master
    }

    /// The processes of the same product below a master.
    pub fn workers_of(&self, master: &Process) -> Vec<&Process> {
        let below = |process: &&Process| {
            process.pid != master.pid
                && process.product == master.product
                && self.descends(process, master.pid)
        };
        self.processes.values().filter(below).collect()
    }

    fn descends(&self, process: &Process, from: u32) -> bool {
        let mut at = process;
        // A process table read while it changes could have a circle.
        for _ in 0..64 {
            if at.ppid == from {
                return true;
            }
            match self.processes.get(&at.ppid) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    }

    /// Masters of a product.
    pub fn masters(&self, product: Product) -> Vec<&Process> {
        let mut masters: Vec<&Process> = self
            .processes
            .values()
            .filter(|process| process.product == Some(product))
            .map(|process| self.master_of(process))
            .collect();
        masters.dedup_by_key(|process| process.pid);
        masters.sort_by_key(|process| process.pid);
        masters.dedup_by_key(|process| process.pid);
        masters
    }

    /// Whether a process is a master, a worker, or alone.
    pub fn role_of(&self, process: &Process) -> Role {
        if self.master_of(process).pid != process.pid {
            Role::Worker
        } else if self.workers_of(process).is_empty() {
            Role::Single
        } else {
            Role::Master
        }
    }
}
