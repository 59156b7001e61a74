/**
 * One line for `sh`. `$W` is a folder that exists, with `bb.tar` (a root file system of busybox) in it. The image
 * `bb:1` is made by the first line of all.
 */
export interface DifferentialCommand {
  line: string;
  /** Compare the exit status only: the text names versions, times or processes that differ by nature. */
  statusOnly?: string;
  /** Lines come in no fixed order. */
  unordered?: boolean;
}

export const command = (line: string): DifferentialCommand => ({ line });
export const statusOnly = (line: string, why: string): DifferentialCommand => ({ line, statusOnly: why });
export const unordered = (line: string): DifferentialCommand => ({ line, unordered: true });

/** `docker create` with options, what inspect then says, and the container's end. */
export function created(options: string, ...paths: string[]): DifferentialCommand {
  const format = paths.map((path) => `{{json .${path}}}`).join(" ");
  return command(
    `docker create --name cr1 ${options} bb:1 true > $W/id && docker inspect cr1 --format '${format}'; docker rm -f cr1 > /dev/null 2>&1`,
  );
}

/** A container of no network that runs `script` in busybox's shell, with options. */
export function ran(options: string, script: string): DifferentialCommand {
  return command(`docker run --rm --network none ${options} bb:1 ${script}`);
}
