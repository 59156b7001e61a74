import type { Command } from "commander";

/** The options that every command takes to say which instance it means. */
export interface InstanceOptions {
  name: string;
  root?: string;
}

/** Adds `--name` and `--root` to a command. */
export function withInstanceOptions(command: Command): Command {
  return command
    .option(
      "--name <name>",
      "the instance; several live side by side on one machine",
      process.env["GANTRY_NAME"] ?? "default",
    )
    .option("--root <folder>", "where the instance keeps its data (default: /var/lib/gantry, or /var/lib/gantry-NAME)");
}
