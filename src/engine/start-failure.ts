import { errorMessage, GantryError } from "#base/errors.ts";
import { runtimeWords } from "./runtime-words.ts";

export interface LaunchFailure {
  error: GantryError;
  message: string;
  exitCode: number;
}

const createPrefix =
  "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ";

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
  const { hint = "", isEarly, text: words } = runtimeWords(text, exitCode, program);
  const process = isEarly === true ? "" : "unable to start container process: ";
  // runc's init says it, which is about to become the program.
  const during = words.startsWith('exec: "') ? "error during container init: " : "";
  const message = `${createPrefix}${process}${during}${words}: unknown${hint}`;
  const code = exitCode === 126 || exitCode === 127 ? "invalid" : "internal";
  return { error: new GantryError(code, message, { cause: error, data: { exitCode } }), message, exitCode };
}
