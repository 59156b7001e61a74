import { closeSync, readSync } from "node:fs";
import { endianness } from "node:os";
import koffi from "koffi";
import { closeFd, makePipe } from "./descriptors.ts";
import { type CArgument, cString } from "./libc.ts";

/** The OCI runtime spec's `linux.seccomp`, as far as the compiler takes it. */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  syscalls?: readonly {
    names: readonly string[];
    action: string;
    errnoRet?: number;
    args?: readonly { index: number; value: number; valueTwo?: number; op: string }[];
  }[];
}

type Call = (...args: (CArgument | unknown)[]) => number;

interface Library {
  init: (action: number) => unknown;
  release: (context: unknown) => void;
  addArchitecture: Call;
  resolveArchitecture: Call;
  resolveSyscall: Call;
  addRule: Call;
  exportBpf: Call;
}

let loaded: Library | undefined;

function library(): Library {
  if (loaded !== undefined) return loaded;
  const lib = koffi.load("libseccomp.so.2");
  const func = (name: string, result: string, args: string[]): Call => lib.func(name, result, args) as unknown as Call;
  loaded = {
    init: func("seccomp_init", "void *", ["uint32"]) as unknown as Library["init"],
    release: func("seccomp_release", "void", ["void *"]),
    addArchitecture: func("seccomp_arch_add", "int", ["void *", "uint32"]),
    resolveArchitecture: func("seccomp_arch_resolve_name", "uint32", ["void *"]),
    resolveSyscall: func("seccomp_syscall_resolve_name", "int", ["void *"]),
    addRule: func("seccomp_rule_add_array", "int", ["void *", "uint32", "int", "uint", "void *"]),
    exportBpf: func("seccomp_export_bpf", "int", ["void *", "int"]),
  };
  return loaded;
}

const operators = ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT"];

function operatorNumber(name: string): number {
  const number = name === "SCMP_CMP_MASKED_EQ" ? 7 : operators.indexOf(name) + 1;
  if (number === 0) throw new Error(`unknown seccomp operator ${name}`);
  return number;
}

/** seccomp(2)'s return values. */
function actionNumber(name: string, errno: number): number {
  if (name === "SCMP_ACT_ALLOW") return 0x7fff0000;
  if (name === "SCMP_ACT_ERRNO") return 0x00050000 | errno;
  if (name === "SCMP_ACT_LOG") return 0x7ffc0000;
  if (name === "SCMP_ACT_KILL_PROCESS") return 0x80000000;
  throw new Error(`the seccomp action ${name} is left to the runtime`);
}

const unknownSyscall = -1;
const alreadyThere = -17;

/**
 * Compiles a profile to the kernel's filter program (struct sock_filter[]) with libseccomp, the library that OCI
 * runtimes compile it with each time anew. Takes some ten milliseconds: keep the result. Undefined where the
 * library is missing, or the profile has something that is better left to the runtime.
 */
export function compileSeccomp(profile: SeccompProfile): Buffer | undefined {
  if (endianness() !== "LE") return undefined;
  let context: unknown;
  try {
    const { init, addArchitecture, resolveArchitecture, resolveSyscall, addRule } = library();
    context = init(actionNumber(profile.defaultAction, profile.defaultErrnoRet ?? 1));
    for (const name of profile.architectures ?? []) {
      const token = resolveArchitecture(cString(name.replace("SCMP_ARCH_", "").toLowerCase()));
      const result = addArchitecture(context, token);
      if (token === 0 || (result < 0 && result !== alreadyThere)) return undefined;
    }
    for (const rule of profile.syscalls ?? []) {
      const action = actionNumber(rule.action, rule.errnoRet ?? profile.defaultErrnoRet ?? 1);
      const args = rule.args ?? [];
      if (new Set(args.map((each) => each.index)).size !== args.length) return undefined;
      // struct scmp_arg_cmp: unsigned arg, enum op, two 64-bit values.
      const conditions = Buffer.alloc(Math.max(1, args.length) * 24);
      for (const [at, { index, op, value, valueTwo }] of args.entries()) {
        conditions.writeUInt32LE(index, at * 24);
        conditions.writeInt32LE(operatorNumber(op), at * 24 + 4);
        conditions.writeBigUInt64LE(BigInt(value), at * 24 + 8);
        conditions.writeBigUInt64LE(BigInt(valueTwo ?? 0), at * 24 + 16);
      }
      for (const name of rule.names) {
        const number = resolveSyscall(cString(name));
        if (number === unknownSyscall) continue;
        if (addRule(context, action, number, args.length, conditions) < 0) return undefined;
      }
    }
    return exported(context);
  } catch {
    return undefined;
  } finally {
    if (context !== undefined && context !== null) library().release(context);
  }
}

/** A filter has at most 4096 instructions of 8 bytes: it fits into a pipe. */
function exported(context: unknown): Buffer | undefined {
  const { readEnd, writeEnd } = makePipe();
  try {
    const result = library().exportBpf(context, writeEnd);
    closeFd(writeEnd);
    if (result < 0) return undefined;
    const program = Buffer.alloc(4096 * 8);
    let length = 0;
    for (;;) {
      const read = readSync(readEnd, program, length, program.length - length, null);
      if (read === 0) return Buffer.from(program.subarray(0, length));
      length += read;
    }
  } finally {
    closeSync(readEnd);
  }
}
