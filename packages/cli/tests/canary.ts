/** Looks for people where none may be: in what the services write down, and in their databases. */
import { readdirSync, readFileSync } from "node:fs";
import { parseCitizenId } from "@fujie/identity";
import { openDatabase } from "@fujie/kit/db";
import type { Platform } from "../src/up/index.ts";
import { SERVICES } from "../src/up/layout.ts";

/** Where somebody was found: never what. */
export type Finding = string;

/**
 * Names that a test used, and every citizen id that a synthetic person can have: eighteen characters with a fictional
 * district, a date and the right check character, in clear or in the hexadecimal of a bytea.
 */
export async function findPeople(platform: Platform, names: readonly string[]): Promise<Finding[]> {
  const logs = readdirSync(platform.files.logs).flatMap((file) =>
    tellsOf(readFileSync(`${platform.files.logs}/${file}`, "utf8"), names) ? [`log ${file}`] : [],
  );
  const metrics = await Promise.all(
    SERVICES.map(async (service) => {
      const text = await (await fetch(`${platform.adminUrl(service)}/metrics`)).text();
      return tellsOf(text, names) ? [`metrics of ${service}`] : [];
    }),
  );
  const tables = await Promise.all(SERVICES.map((service) => searchDatabase(platform, service, names)));
  return [...logs, ...metrics.flat(), ...tables.flat()];
}

async function searchDatabase(platform: Platform, service: string, names: readonly string[]): Promise<Finding[]> {
  const url = platform.postgres.url(service.replace("-", "_"));
  await using db = openDatabase({ url, poolMax: 1, service: "canary" });
  const { rows: tables } = await db.query<{ name: string }>(
    `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
  );
  const found: Finding[] = [];
  for (const { name } of tables) {
    const { rows } = await db.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
    if (rows.some(({ row }) => tellsOf(row, names))) found.push(`${service} ${name}`);
  }
  return found;
}

function tellsOf(text: string, names: readonly string[]): boolean {
  const hexNames = names.map((name) => Buffer.from(name).toString("hex"));
  if ([...names, ...hexNames].some((name) => text.includes(name))) return true;
  const plain = text.match(/(?<![\da-fA-F])\d{17}[\dX](?![\da-fA-F])/g) ?? [];
  // "1" is 31 in hexadecimal, "X" is 58.
  const hex = text.match(/(?:3\d){17}(?:3\d|58)/g) ?? [];
  return [...plain, ...hex.map((digits) => Buffer.from(digits, "hex").toString("latin1"))].some(isCitizenId);
}

/** All people of the sandbox live in districts that do not exist: what is refused for that alone is one of them. */
function isCitizenId(text: string): boolean {
  const parsed = parseCitizenId(text, { today: new Date().toISOString().slice(0, 10) });
  return !parsed.ok && parsed.reason === "fictional";
}
