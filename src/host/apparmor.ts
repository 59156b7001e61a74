import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { GantryError, errorMessage } from "#base/errors.ts";
import { run } from "./run.ts";

const folder = "/sys/kernel/security/apparmor";

/** Whether the kernel confines programs by AppArmor profiles. Fixed when the machine boots. */
export const hasAppArmor: boolean = existsSync(folder) && read("/sys/module/apparmor/parameters/enabled") === "Y";

function read(path: string): string {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return "";
  }
}

/** `docker-default (enforce)`, or "" where there is nothing of the kind: what a line of the kernel's names. */
function profileOf(line: string): string {
  return line.replace(/ \(\w+\)$/, "");
}

/** Whether the kernel knows a profile. */
export function isProfileLoaded(name: string): boolean {
  return read(`${folder}/profiles`)
    .split("\n")
    .some((line) => profileOf(line) === name);
}

/**
 * Gives the kernel a profile, in the language of apparmor.d(5). Only apparmor_parser can compile one: throws
 * `unavailable` where it is missing or refuses.
 */
export async function loadProfile(name: string, text: string): Promise<void> {
  try {
    await run(["apparmor_parser", "--replace", "--skip-cache"], { stdin: text, timeoutMs: 30_000 });
  } catch (cause) {
    const what = `AppArmor enabled on system but the ${name} profile could not be loaded`;
    throw new GantryError("unavailable", `${what}: ${errorMessage(cause)} (it needs: apt-get install apparmor)`, {
      cause,
    });
  }
}

/** Takes a profile that confines no process out of the kernel. False when it stays, or is not there. */
export function removeUnusedProfile(name: string): boolean {
  if (!hasAppArmor || !isProfileLoaded(name)) return false;
  const isUsed = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .some((pid) => profileOf(read(`/proc/${pid}/attr/apparmor/current`)) === name);
  if (isUsed) return false;
  writeFileSync(`${folder}/.remove`, name);
  return true;
}
