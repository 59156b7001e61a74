import { errorMessage, GantryError } from "#base/errors.ts";

export interface LaunchFailure {
  error: GantryError;
  message: string;
  exitCode: number;
}

const createPrefix =
  "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: ";

/**
 * A start that failed, in docker's words: the runtime's complaints come with the sentence that the docker CLI
 * looks for when it picks its exit status (125, 126, 127), and the container keeps that status.
 */
export function launchFailure(error: unknown, program: string): LaunchFailure {
  const text = errorMessage(error);
  const exitCode = error instanceof GantryError ? error.data["exitCode"] : undefined;
  if (typeof exitCode !== "number") {
    const own = error instanceof GantryError ? error : new GantryError("internal", text, { cause: error });
    return { error: own, message: text, exitCode: 128 };
  }
  const message = `${createPrefix}${runtimeWords(text, exitCode, program)}: unknown`;
  const code = exitCode === 126 || exitCode === 127 ? "invalid" : "internal";
  return { error: new GantryError(code, message, { cause: error, data: { exitCode } }), message, exitCode };
}

/** crun and runc say the same in different words: docker's users know runc's. */
function runtimeWords(text: string, exitCode: number, program: string): string {
  if (text.startsWith("exec: ") || text.includes('exec: "')) return text;
  if (exitCode === 127) {
    return program.includes("/")
      ? `exec: "${program}": stat ${program}: no such file or directory`
      : `exec: "${program}": executable file not found in $PATH`;
  }
  return exitCode === 126 ? `exec: "${program}": permission denied` : text;
}
