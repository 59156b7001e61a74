/** The front door for starting programs: `start` for one that lives, `run` for one whose output is wanted. */
export {
  type ChildProcess,
  type ExitStatus,
  type StartOptions,
  type Stdio,
  findExecutable,
  minimalEnvironment,
  start,
} from "./start-process.ts";
export { CommandError, type RunOptions, type RunResult, exitNumber, run } from "./run-command.ts";
