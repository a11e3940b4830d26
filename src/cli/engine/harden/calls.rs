//! seccomp: system calls that the vault never makes are refused with EPERM, whoever makes them in this process.
//!
//! A list of what is forbidden, not of what is allowed: a vendor's PKCS#11 module and another C library make calls that nobody
//! here can know. What is left out of reach is what an intruder in the process needs next: to start a program, to look into
//! another process, to load code into the kernel, to mount, to leave the namespace, to use the parts of the kernel with the worst
//! record (bpf, io_uring, userfaultfd, keyrings, rare kinds of sockets), and memory that is both writable and executable.

use std::collections::BTreeMap;

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, EPERM, PROT_EXEC, PROT_WRITE};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{MaskedEq, Ne};
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule};

use super::Outcome;

/// Refused whatever their arguments are.
const FORBIDDEN: &[libc::c_long] = &[
    // Programs, and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // Mounts, roots and namespaces; files by handle go past every check of a path.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_fanotify_init,
    // Other accounts.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    // Parts of the kernel with a record.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_syslog,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
];

/// The same on this architecture alone.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_mknod,
    libc::SYS_uselib,
    libc::SYS_kexec_file_load,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[libc::c_long] = &[libc::SYS_kexec_file_load];

/// The bit of the second way to make a call on x86-64 (x32), whose numbers would go past a list.
#[cfg(target_arch = "x86_64")]
const OTHER_WAY: Option<i64> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_WAY: Option<i64> = None;

/// Refuses them from here on, in every thread.
pub(super) fn refuse() -> Result<Outcome, String> {
    let program = program().map_err(|error| error.to_string())?;
    match seccompiler::apply_filter_all_threads(&program) {
        Ok(()) => Ok(Outcome::On),
        Err(error) => Err(error.to_string()),
    }
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let always = FORBIDDEN.iter().chain(FORBIDDEN_HERE).map(|call| (*call, Vec::new()));
    let kinds = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];
    let other_kinds = kinds.iter().map(|kind| SeccompCondition::new(0, Dword, Ne, u64::from(kind.unsigned_abs())));
    let other_kinds = SeccompRule::new(other_kinds.collect::<Result<_, _>>()?)?;
    let both = u64::from((PROT_WRITE | PROT_EXEC).unsigned_abs());
    let both = SeccompRule::new(vec![SeccompCondition::new(2, Dword, MaskedEq(both), both)?])?;
    let sometimes =
        [(libc::SYS_socket, vec![other_kinds]), (libc::SYS_mmap, vec![both.clone()]), (libc::SYS_mprotect, vec![both])];
    for (call, conditions) in always.chain(sometimes) {
        if let Some(bit) = OTHER_WAY {
            rules.insert(call | bit, conditions.clone());
        }
        rules.insert(call, conditions);
    }
    let refused = SeccompAction::Errno(EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_is_started_and_what_the_vault_does_still_works() {
        // A filter of one thread: the other tests of this process go on without it.
        let alone = std::thread::spawn(|| {
            std::process::Command::new("true").status().unwrap();
            seccompiler::apply_filter(&program().unwrap()).unwrap();
            let refused = std::process::Command::new("true").status().unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(EPERM));
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            std::net::ToSocketAddrs::to_socket_addrs("localhost:1").unwrap();
            std::fs::write(tempfile::tempdir().unwrap().path().join("file"), "x").unwrap();
            std::thread::spawn(|| {}).join().unwrap();
        });
        alone.join().unwrap();
    }

    #[test]
    fn no_call_stands_twice_and_the_list_is_a_program_that_a_kernel_takes() {
        let mut all: Vec<_> = FORBIDDEN.iter().chain(FORBIDDEN_HERE).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        // BPF_MAXINSNS of the kernel.
        assert!((count..4_096).contains(&program().unwrap().len()));
    }
}
