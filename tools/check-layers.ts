// Fails when a file under src/ imports a layer that layers.json does not let it import, when a folder under
// src/ is in no layer, or when the scan finds nothing (a check that cannot fail is none).
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";

export interface LayerTable {
  [layer: string]: string[];
}

export interface Breach {
  file: string;
  line: number;
  message: string;
}

/** The layer that owns a path relative to src/, or undefined. Longest name wins (`kube/node` before `kube`). */
export function layerOf(path: string, table: LayerTable): string | undefined {
  let best: string | undefined;
  for (const layer of Object.keys(table)) {
    if (path.startsWith(`${layer}/`) && (best === undefined || layer.length > best.length)) best = layer;
  }
  return best;
}

const importPattern = /(?:\bfrom\s*|\bimport\s*\(?\s*)["']([^"']+)["']/g;

/** Breaches of one source text. `path` is relative to src/. Pure. */
export function findBreaches(path: string, source: string, table: LayerTable): Breach[] {
  const layer = layerOf(path, table);
  if (layer === undefined) return [{ file: path, line: 1, message: `${path} is in no layer of layers.json.` }];
  const allowed = table[layer] ?? [];
  const breaches: Breach[] = [];
  for (const match of source.matchAll(importPattern)) {
    const specifier = match[1] as string;
    let target: string;
    if (specifier.startsWith("#")) target = specifier.slice(1);
    else if (specifier.startsWith(".")) target = join(dirname(path), specifier);
    else continue;
    const line = source.slice(0, match.index).split("\n").length;
    if (target.startsWith("..")) {
      breaches.push({ file: path, line, message: `${specifier} leaves src/.` });
      continue;
    }
    const targetLayer = layerOf(target, table);
    if (targetLayer === undefined) breaches.push({ file: path, line, message: `${specifier} is in no layer.` });
    else if (targetLayer !== layer && !allowed.includes("*") && !allowed.includes(targetLayer)) {
      breaches.push({ file: path, line, message: `${layer} may not import ${targetLayer} (${specifier}).` });
    }
  }
  return breaches;
}

export interface ScanResult {
  files: number;
  imports: number;
  breaches: Breach[];
}

/** Scans all .ts files below `sourceRoot`. */
export function scan(sourceRoot: string, table: LayerTable): ScanResult {
  const result: ScanResult = { files: 0, imports: 0, breaches: [] };
  for (const entry of readdirSync(sourceRoot, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.tsx?$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    const source = readFileSync(path, "utf8");
    result.files++;
    result.imports += [...source.matchAll(importPattern)].length;
    result.breaches.push(...findBreaches(relative(sourceRoot, path), source, table));
  }
  return result;
}

/** layers.json's table. */
export function readLayerTable(root: string): LayerTable {
  return (JSON.parse(readFileSync(join(root, "layers.json"), "utf8")) as { layers: LayerTable }).layers;
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..");
  const { files, imports, breaches } = scan(join(root, "src"), readLayerTable(root));
  for (const breach of breaches) console.error(`src/${breach.file}:${breach.line}: ${breach.message}`);
  if (files === 0 || imports === 0) {
    console.error("The layer check found nothing to check: it is broken.");
    process.exit(1);
  }
  console.log(`layers: ${files} files, ${imports} imports, ${breaches.length} breaches`);
  process.exit(breaches.length === 0 ? 0 : 1);
}
