import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { type SeccompProfile, compileSeccomp } from "#host/seccomp-compiler.ts";

/**
 * System calls that every container may make: docker's default policy refuses what reaches out of a
 * container (kernel modules, mounts, keyrings, clocks, tracing of others on old kernels). Facts from Docker's
 * documentation, "Seccomp security profiles for Docker".
 */
const always = `
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
_llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat
sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev process_vm_readv process_vm_writev
ptrace
`;

/** Allowed to who has the capability. */
const byCapability: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: "open_by_handle_at",
  CAP_SYS_ADMIN:
    "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
  CAP_SYS_BOOT: "reboot",
  CAP_SYS_CHROOT: "chroot",
  CAP_SYS_MODULE: "delete_module init_module finit_module",
  CAP_SYS_PACCT: "acct",
  CAP_SYS_PTRACE: "kcmp pidfd_getfd process_madvise",
  CAP_SYS_RAWIO: "iopl ioperm",
  CAP_SYS_TIME: "settimeofday stime clock_settime clock_settime64",
  CAP_SYS_TTY_CONFIG: "vhangup",
  CAP_SYS_NICE: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
  CAP_SYSLOG: "syslog",
  CAP_BPF: "bpf",
  CAP_PERFMON: "perf_event_open",
};

/** Flags of clone(2) that make namespaces. */
const namespaceFlags = 0x7e020000;
const enosys = 38;
const eperm = 1;
const afVsock = 40;

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");
type Rule = NonNullable<SeccompProfile["syscalls"]>[number];
const allow = (names: readonly string[], args?: NonNullable<Rule["args"]>): Rule => ({
  names,
  action: "SCMP_ACT_ALLOW",
  ...(args === undefined ? {} : { args }),
});

function makeDefaultProfile(capabilities: readonly string[]): SeccompProfile {
  const has = new Set(capabilities);
  const isArm = process.arch === "arm64";
  const syscalls: Rule[] = [
    allow(words(always)),
    // Programs run as they were built for: the personalities of 32-bit and unrandomised programs.
    ...[0x0, 0x0008, 0x20000, 0x20008, 0xffffffff].map((value) =>
      allow(["personality"], [{ index: 0, value, op: "SCMP_CMP_EQ" }]),
    ),
    // All socket families but vsock, which reaches the host of a virtual machine.
    allow(["socket"], [{ index: 0, value: afVsock, op: "SCMP_CMP_NE" }]),
    allow(
      isArm
        ? ["arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"]
        : ["arch_prctl", "modify_ldt"],
    ),
  ];
  for (const [capability, names] of Object.entries(byCapability))
    if (has.has(capability)) syscalls.push(allow(words(names)));
  if (!has.has("CAP_SYS_ADMIN")) {
    syscalls.push(allow(["clone"], [{ index: 0, value: namespaceFlags, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }]));
    // Its flags are behind a pointer: "not there" makes the C library use clone.
    syscalls.push({ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: enosys });
  }
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: eperm,
    architectures: isArm
      ? ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
      : ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls,
  };
}

interface CompiledProfile {
  profile: SeccompProfile;
  /** The kernel's program in base64; undefined where it is left to the runtime. */
  program: string | undefined;
}

const defaults = new Map<string, CompiledProfile>();

/** The default profile differs only by capabilities: each is made, and compiled, once. */
function defaultProfile(capabilities: readonly string[]): CompiledProfile {
  const key = [...capabilities].sort().join();
  const known = defaults.get(key);
  if (known !== undefined) return known;
  if (defaults.size >= 64) defaults.clear();
  const profile = makeDefaultProfile(capabilities);
  const made = { profile, program: compileSeccomp(profile)?.toString("base64") };
  defaults.set(key, made);
  return made;
}

interface DockerRule {
  name?: string;
  names?: string[];
  action: string;
  args?: object[] | null;
  errnoRet?: number;
  includes?: { caps?: string[]; arches?: string[]; minKernel?: string };
  excludes?: { caps?: string[]; arches?: string[]; minKernel?: string };
}

/** docker's profile files say for whom a rule is; the runtime spec has no such words. */
function resolveProfile(profile: unknown, capabilities: readonly string[]): object {
  if (typeof profile !== "object" || profile === null)
    throw new GantryError("invalid", "Decoding seccomp profile failed: it is not a JSON object");
  const {
    archMap,
    syscalls = [],
    architectures,
    ...rest
  } = profile as {
    archMap?: { architecture: string; subArchitectures?: string[] }[];
    syscalls?: DockerRule[];
    architectures?: string[];
  };
  const arch = process.arch === "arm64" ? "arm64" : "amd64";
  const own = process.arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
  const matches = (filter: DockerRule["includes"]): boolean =>
    (filter?.caps ?? []).every((capability) => capabilities.includes(capability)) &&
    (filter?.arches === undefined || filter.arches.length === 0 || filter.arches.includes(arch));
  const isExcluded = (filter: DockerRule["excludes"]): boolean =>
    (filter?.caps ?? []).some((capability) => capabilities.includes(capability)) ||
    (filter?.arches ?? []).includes(arch);
  const mapped = archMap?.find((each) => each.architecture === own);
  return {
    ...rest,
    architectures: architectures ?? (mapped === undefined ? [own] : [own, ...(mapped.subArchitectures ?? [])]),
    syscalls: syscalls
      .filter((rule) => matches(rule.includes) && !isExcluded(rule.excludes))
      .map(({ name, names, action, args, errnoRet }) => ({
        names: names ?? (name === undefined ? [] : [name]),
        action,
        ...(args ? { args } : {}),
        ...(errnoRet === undefined ? {} : { errnoRet }),
      })),
  };
}

let kernelHasSeccomp: boolean | undefined;

function isSupported(): boolean {
  kernelHasSeccomp ??= /^Seccomp:/m.test(readFileSync("/proc/self/status", "utf8"));
  return kernelHasSeccomp;
}

export interface SeccompChoice {
  /** The spec's `linux.seccomp`; undefined for an unconfined container. */
  profile: object | undefined;
  /** The same compiled, which saves crun ten milliseconds with each container. */
  program: string | undefined;
}

/** What goes into the spec of a container for its choice of a profile. Throws `invalid` for one that is none. */
export function seccompProfile(
  choice: "default" | "unconfined" | { profile: unknown },
  capabilities: readonly string[],
): SeccompChoice {
  if (choice === "unconfined" || !isSupported()) return { profile: undefined, program: undefined };
  if (choice === "default") return defaultProfile(capabilities);
  return { profile: resolveProfile(choice.profile, capabilities), program: undefined };
}
