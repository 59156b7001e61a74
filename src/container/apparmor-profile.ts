import { hasAppArmor, isProfileLoaded, loadProfile } from "#host/apparmor.ts";

/** The profile of containers that name none, by docker's name for it. */
export const defaultAppArmorProfile = "docker-default";

/**
 * It permits what a container's capabilities permit, but no mounts, no signals from other confined programs, and no
 * writing of the machine's own settings in /proc and /sys, even where they are not hidden (apparmor.d(5); docker's
 * documentation, "AppArmor security profiles for Docker").
 */
const profile = `profile ${defaultAppArmorProfile} flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  umount,
  deny mount,

  # Signals come from the same container's programs and from who starts and stops them.
  signal (send, receive) peer=${defaultAppArmorProfile},
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  ptrace (trace, read, tracedby, readby) peer=${defaultAppArmorProfile},

  # In /proc, files of processes may be written, and the settings of shared memory.
  deny /proc/* w,
  deny /proc/{[^1-9s]*,s[^y]*,sy[^s]*,sys?*}/** w,
  deny /proc/sys/{[^k]*,k[^e]*}{,/**} w,
  deny /proc/sys/kernel/{[^s]*,s[^h]*,sh[^m]*}{,/**} w,
  deny /proc/{kcore,sysrq-trigger} rwklx,

  # In /sys, only cgroups may be written.
  deny /sys/{[^f]*,f[^s]*}/** wklx,
  deny /sys/fs/{[^c]*,c[^g]*,cg[^r]*}/** wklx,
  deny /sys/{firmware,devices/virtual/powercap,kernel/security}/** rwklx,
}
`;

let loading: Promise<void> | undefined;

/**
 * Makes sure that the kernel has the default profile: dockerd may have loaded one of that name, and a reload of all
 * profiles may have taken it away. Throws `unavailable`, in docker's words.
 */
export async function ensureDefaultAppArmorProfile(): Promise<void> {
  if (!hasAppArmor || isProfileLoaded(defaultAppArmorProfile)) return;
  loading ??= loadProfile(defaultAppArmorProfile, profile).finally(() => (loading = undefined));
  await loading;
}
