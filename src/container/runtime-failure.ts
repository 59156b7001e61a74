import { GantryError } from "#base/errors.ts";

/** What crun and runc say when a program is not there or cannot be run, and the exit status shells give for it. */
const patterns: readonly [pattern: RegExp, exit: 126 | 127, code: "not-found" | "forbidden"][] = [
  [
    /executable file [`'"]?([^`'"]*)[`'"]? not found in \$PATH|exec: "([^"]*)": executable file not found in \$PATH/,
    127,
    "not-found",
  ],
  [
    /exec: "([^"]*)": stat .*: no such file or directory|open executable: No such file or directory|executable not found|exec .*: no such file or directory/i,
    127,
    "not-found",
  ],
  [/permission denied|open executable: Operation not permitted/i, 126, "forbidden"],
  [/exec format error|Exec format error/i, 126, "forbidden"],
  [/is a directory/i, 126, "forbidden"],
];

/** runc's words for an AppArmor profile that the kernel does not have. */
const unknownProfile =
  "error during container init: unable to apply apparmor profile: apparmor failed to apply profile: write /proc/thread-self/attr/apparmor/exec: no such file or directory";

/** The runtime's last line without its level and time. */
function lastMessage(output: string): string {
  const lines = output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const last = lines[lines.length - 1] ?? "";
  try {
    const { msg } = JSON.parse(last) as { msg?: string };
    if (typeof msg === "string") return msg;
  } catch {
    // Plain text.
  }
  return last
    .replace(/^time="[^"]*" level=\w+ msg="(.*)"$/, "$1")
    .replaceAll('\\"', '"')
    .replace(/^\d{4}-\d\d-\d\dT\S+:\s*/, "");
}

/**
 * The error of a runtime that could not start `program`, in runc's words. `data.exitCode` is what docker
 * reports for it: 126 found but not runnable, 127 not found, else 128 (docker run, "Exit status").
 */
export function runtimeFailure(output: string, program = ""): GantryError {
  if (/attr\/(apparmor\/)?exec\b.*no such file/i.test(output)) {
    return new GantryError("internal", unknownProfile, { data: { exitCode: 128 } });
  }
  const message = lastMessage(output);
  for (const [pattern, exitCode, code] of patterns) {
    if (!pattern.test(output)) continue;
    // crun does not say which program it could not open, or that it is a folder.
    const reason = /Operation not permitted|is a directory/i.test(output)
      ? "is a directory"
      : /format error/i.test(output)
        ? "exec format error"
        : "permission denied";
    const named =
      exitCode === 126 && program !== "" && !message.includes('exec: "')
        ? `exec: ${JSON.stringify(program)}: ${reason}`
        : message;
    return new GantryError(code, named, { data: { exitCode } });
  }
  return new GantryError("internal", message === "" ? "the OCI runtime failed without a word" : message, {
    data: { exitCode: 128 },
  });
}
