import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { withInstanceOptions } from "./instance-options.ts";
import { version } from "#daemon/version.ts";

function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError("It must be a number of seconds above 0.");
  return value;
}

const output = (): Option =>
  new Option("-o, --output <format>", "how to print").choices(["text", "json"]).default("text");

/** The command tree. Each action imports its own file, so that no command pays for another. */
export function buildProgram(): Command {
  const program = new Command("gantry")
    .description(
      "A container engine and a Kubernetes cluster on this machine, for the docker, kubectl and helm that you have.",
    )
    .version(version, "-V, --version", "print the version")
    .showHelpAfterError("(see --help)")
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  gantry up                          start everything, with a sample application
  eval "$(gantry env)"               point docker and kubectl of this shell at it
  gantry status -o json              every process, address and node, for scripts
  gantry up --name test --no-demo    a second instance beside the first
  gantry reset --name test --yes     remove every trace of it`,
    );

  withInstanceOptions(program.command("up"))
    .description("start the platform, or say that it is up")
    .option("--no-demo", "do not deploy the sample application")
    .option("--no-switch", "do not make this cluster the current one in your kubeconfig")
    .option("--timeout <seconds>", "how long to wait for each step", seconds, 120)
    .option(
      "--config-file <file>",
      "Docker's daemon.json for this instance, remembered for later starts (default: ROOT/daemon.json)",
    )
    .addHelpText("after", "\nExamples:\n  gantry up\n  gantry up --name ci --root /tmp/ci --no-demo --no-switch")
    .action(async (options) => (await import("./commands/up.ts")).up(options));

  withInstanceOptions(program.command("down"))
    .description("stop all containers and processes; the data stays")
    .option(
      "--timeout <seconds>",
      "how long containers may take to stop before they are killed (default: daemon.json's shutdown-timeout, or 10)",
      seconds,
    )
    .option("--keep-containers", "stop Gantry's own processes only; containers go on without them")
    .addHelpText("after", "\nExamples:\n  gantry down && gantry up\n  gantry down --keep-containers")
    .action(async (options) => (await import("./commands/down.ts")).down(options));

  withInstanceOptions(program.command("status"))
    .description("show processes, addresses and nodes")
    .addOption(output())
    .addHelpText("after", "\nExamples:\n  gantry status\n  gantry status -o json | jq '.processes[].pid'")
    .action(async (options) => (await import("./commands/status.ts")).status(options));

  withInstanceOptions(program.command("logs"))
    .description("print the log of Gantry's own processes")
    .argument("[process]", "control or node; both when absent")
    .option("-f, --follow", "go on as lines come")
    .option("-n, --tail <lines>", "only the last lines", (text) => Number.parseInt(text, 10))
    .addHelpText("after", "\nExamples:\n  gantry logs node -f\n  gantry logs control -n 50")
    .action(async (process, options) => (await import("./commands/logs.ts")).logs(process, options));

  withInstanceOptions(program.command("env"))
    .description("print shell lines that point docker and kubectl at this instance")
    .addHelpText("after", '\nExamples:\n  eval "$(gantry env)"')
    .action(async (options) => (await import("./commands/env.ts")).env(options));

  withInstanceOptions(program.command("kubeconfig"))
    .description("print the administrator's kubeconfig")
    .addHelpText("after", "\nExamples:\n  gantry kubeconfig > cluster.yaml")
    .action(async (options) => (await import("./commands/kubeconfig.ts")).kubeconfig(options));

  withInstanceOptions(program.command("install-service"))
    .description("print a systemd unit that starts the instance with the machine")
    .option("--write", "put it into /etc/systemd/system")
    .addHelpText(
      "after",
      "\nExamples:\n  gantry install-service\n  gantry install-service --write && systemctl enable --now gantry",
    )
    .action(async (options) => (await import("./commands/install-service.ts")).installService(options));

  withInstanceOptions(program.command("reset"))
    .description("remove the instance and every trace of it, its data included")
    .option("-y, --yes", "do not ask")
    .addHelpText("after", "\nExamples:\n  gantry reset\n  gantry reset --name test --yes")
    .action(async (options) => (await import("./commands/reset.ts")).reset(options));

  program
    .command("completion")
    .description("print a completion script")
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText("after", '\nExamples:\n  eval "$(gantry completion bash)"')
    .action(async (shell) => (await import("./commands/completion.ts")).completion(shell, program));

  return program;
}

/** Runs the command line and gives the exit status. */
export async function runCli(argv: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync(argv as string[]);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    const { reportFailure } = await import("./failure.ts");
    return reportFailure(error);
  }
}

if (import.meta.main) process.exitCode = await runCli(process.argv);
