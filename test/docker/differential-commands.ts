import type { DifferentialCommand } from "./differential-commands/command.ts";
import { fileCommands } from "./differential-commands/files.ts";
import { imageCommands } from "./differential-commands/images.ts";
import { lifecycleCommands } from "./differential-commands/lifecycle.ts";
import { limitCommands } from "./differential-commands/limits.ts";
import { networkCommands } from "./differential-commands/networks.ts";
import { runOptionCommands } from "./differential-commands/run-options.ts";
import { systemCommands } from "./differential-commands/system.ts";
import { volumeCommands } from "./differential-commands/volumes.ts";

/** What is run one after the other against two daemons, with the real docker CLI. */
export const differentialCommands: readonly DifferentialCommand[] = [
  ...imageCommands,
  ...runOptionCommands,
  ...limitCommands,
  ...lifecycleCommands,
  ...fileCommands,
  ...volumeCommands,
  ...networkCommands,
  ...systemCommands,
];
