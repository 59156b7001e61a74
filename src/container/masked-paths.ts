import { existsSync, readFileSync } from "node:fs";

/** What docker hides from containers on every machine (moby, oci/defaults.go). */
const always = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];

export const defaultReadonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** The numbers of a kernel's list, such as `0-3,8`: of `/sys/devices/system/cpu/possible`. */
export function numbersOf(list: string): number[] {
  return list
    .trim()
    .split(",")
    .filter((range) => /^\d+(-\d+)?$/.test(range))
    .flatMap((range) => {
      const [from = 0, to = from] = range.split("-").map(Number);
      return Array.from({ length: to - from + 1 }, (_, index) => from + index);
    });
}

let masked: readonly string[] | undefined;

/**
 * What docker hides on this machine: its processors' heat, too, which tells of what others compute
 * (GHSA-6fw5-f8r9-fgfm). Found once: processors do not come while a machine runs.
 */
export function defaultMaskedPaths(): readonly string[] {
  if (masked !== undefined) return masked;
  const possible = "/sys/devices/system/cpu/possible";
  const processors = existsSync(possible) ? numbersOf(readFileSync(possible, "latin1")) : [];
  const heat = processors.map((number) => `/sys/devices/system/cpu/cpu${number}/thermal_throttle`);
  masked = [...always, ...heat.filter((path) => existsSync(path))];
  return masked;
}
