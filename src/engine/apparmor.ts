import type { HostConfig } from "#api/docker/container-types.ts";
import { defaultAppArmorProfile } from "#container/apparmor-profile.ts";
import { hasAppArmor } from "#host/apparmor.ts";
import { securityOptions } from "./launch-plan.ts";

/**
 * What confines a container that starts now; "" where the kernel has no AppArmor (moby, daemon/container_linux.go,
 * saveAppArmorConfig). A privileged one is unconfined, except that a pod's may name a profile, as containerd has it.
 */
export function appArmorProfile(host: HostConfig, isPod: boolean, isSupported = hasAppArmor): string {
  if (!isSupported) return "";
  const { apparmor } = securityOptions(host);
  if (host.Privileged === true) return isPod && apparmor !== "" ? apparmor : "unconfined";
  return apparmor || defaultAppArmorProfile;
}
