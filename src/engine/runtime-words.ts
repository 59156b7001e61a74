/** What runc and dockerd make of a failure that crun words otherwise. */
export interface RuntimeWords {
  text: string;
  /** Found before there was a process: runc says no `unable to start container process`. */
  isEarly?: boolean;
  /** What dockerd adds for its users (moby, daemon/errors.go). */
  hint?: string;
}

const hostNamespaces: Readonly<Record<string, (name: string) => string>> = {
  network: (name) => `sysctl "${name}" not allowed in host network namespace`,
  ipc: (name) => `sysctl "${name}" is not allowed in the hosts ipc namespace`,
};

const known: readonly [pattern: RegExp, words: (match: RegExpExecArray) => RuntimeWords][] = [
  [
    /^mount `(.*)` to `\/?(.*)`: Not a directory$/i,
    ([, source = "", target = ""]) => ({
      text: `error during container init: error mounting "${source}" to rootfs at "/${target}": mount src=${source}, dst=/${target}, flags=MS_BIND|MS_REC: not a directory`,
      hint: ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
    }),
  ],
  [
    /^the sysctl `(.*)` requires a new (network|ipc) namespace$/i,
    ([, name = "", kind = ""]) => ({ text: hostNamespaces[kind.toLowerCase()]?.(name) ?? name, isEarly: true }),
  ],
  [
    /^invalid seccomp action `(.*)`$/,
    ([, action = ""]) => ({ text: `string ${action} is not a valid action for seccomp`, isEarly: true }),
  ],
  [/^sethostname: invalid argument$/i, () => ({ text: "error during container init: sethostname: invalid argument" })],
  [/^exec: ".*": is a directory$/, ([text]) => ({ text, hint: ": permission denied" })],
];

/** crun and runc say the same in different words: docker's users know runc's. */
export function runtimeWords(text: string, exitCode: number, program: string): RuntimeWords {
  for (const [pattern, words] of known) {
    const match = pattern.exec(text);
    if (match !== null) return words(match);
  }
  if (text.startsWith("exec: ") || text.includes('exec: "')) return { text };
  if (exitCode === 127) {
    return {
      text: program.includes("/")
        ? `exec: "${program}": stat ${program}: no such file or directory`
        : `exec: "${program}": executable file not found in $PATH`,
    };
  }
  return { text: exitCode === 126 ? `exec: "${program}": permission denied` : text };
}
