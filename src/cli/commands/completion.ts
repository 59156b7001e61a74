import type { Command } from "commander";
import { GantryError } from "#base/errors.ts";

interface CommandWords {
  name: string;
  description: string;
  options: { flag: string; description: string }[];
}

function wordsOf(program: Command): CommandWords[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: command.options.map((option) => ({
      flag: option.long ?? option.short ?? "",
      description: option.description,
    })),
  }));
}

function bash(commands: CommandWords[]): string {
  const cases = commands
    .map(({ name, options }) => `    ${name}) words="${options.map(({ flag }) => flag).join(" ")} --help";;`)
    .join("\n");
  return `_gantry() {
  local words current=\${COMP_WORDS[COMP_CWORD]}
  case \${COMP_WORDS[1]} in
${cases}
    *) words="${commands.map(({ name }) => name).join(" ")} --help --version";;
  esac
  [ "$COMP_CWORD" = 1 ] && words="${commands.map(({ name }) => name).join(" ")} --help --version"
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _gantry gantry ./gantry
`;
}

function zsh(commands: CommandWords[]): string {
  const quote = (text: string): string => text.replaceAll("'", "").replaceAll(":", " ");
  const cases = commands
    .map(
      ({ name, options }) =>
        `    ${name}) _arguments ${options.map(({ flag, description }) => `'${flag}[${quote(description).replaceAll("[", "(").replaceAll("]", ")")}]'`).join(" ")} ;;`,
    )
    .join("\n");
  return `#compdef gantry
_gantry() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map(({ name, description }) => `'${name}:${quote(description)}'`).join(" ")})
    _describe command commands
    return
  fi
  case $words[2] in
${cases}
  esac
}
compdef _gantry gantry
`;
}

function fish(commands: CommandWords[]): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;
  return commands
    .flatMap(({ name, description, options }) => [
      `complete -c gantry -f -n __fish_use_subcommand -a ${name} -d ${quote(description)}`,
      ...options.map(
        ({ flag, description: about }) =>
          `complete -c gantry -n '__fish_seen_subcommand_from ${name}' -l ${flag.replace(/^--/, "")} -d ${quote(about)}`,
      ),
    ])
    .join("\n")
    .concat("\n");
}

/** Prints the completion script of a shell, made from the command tree itself. */
export function completion(shell: string, program: Command): void {
  const writers: Record<string, (commands: CommandWords[]) => string> = { bash, zsh, fish };
  const writer = writers[shell];
  if (writer === undefined)
    throw new GantryError("invalid", `There is no completion for "${shell}": say bash, zsh or fish.`);
  process.stdout.write(writer(wordsOf(program)));
}
