import { GantryError, errorChain } from "#base/errors.ts";

/** Prints what went wrong, for a person, and gives the exit status. */
export function reportFailure(error: unknown): number {
  if (error instanceof GantryError) {
    process.stderr.write(`gantry: ${process.env["GANTRY_DEBUG"] ? errorChain(error) : error.message}\n`);
  } else {
    process.stderr.write(`gantry: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.stderr.write("gantry: this is a defect of Gantry's. The lines above say where.\n");
  }
  return 1;
}
