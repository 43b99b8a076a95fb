// What the project fetches from npm outside an installation. Plain JavaScript for any Node ≥ 18, without dependencies.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { accessSync, constants, createReadStream, mkdirSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { createGunzip } from "node:zlib";

/** Something that the user can mend; its message is all that is shown. */
export class SetUpError extends Error {}

/**
 * Fetches a package's archive from npm into `folder` and checks it.
 *
 * @param {string} name with its exact version
 * @param {string} integrity `sha512-` and the digest in base64, as the registry states it
 * @param {string} folder an empty one
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string>} the path of the archive
 * @throws {SetUpError} when it cannot be fetched or is another file
 */
export async function fetchTarball(name, integrity, folder, env) {
  const args = ["pack", name, "--pack-destination", folder];
  const { code, output } = await run("npm", args, quietNpm(env), folder);
  const file = readdirSync(folder).find((entry) => entry.endsWith(".tgz"));
  if (code !== 0 || file === undefined) throw new SetUpError(explain(`npm could not fetch ${name}`, output));
  const tarball = join(folder, file);
  const hash = createHash("sha512");
  for await (const chunk of createReadStream(tarball)) hash.update(chunk);
  if (`sha512-${hash.digest("base64")}` !== integrity)
    throw new SetUpError(`${name} is not the file it should be (sha512)`);
  return tarball;
}

const BLOCK = 512;

/**
 * Writes one file of a gzipped tar archive (POSIX ustar, as npm makes them) to `output`, without the `tar` program.
 *
 * @param {import("node:stream").Readable} input the archive
 * @param {string} name the file's path in the archive, at most 100 characters
 * @param {import("node:stream").Writable} output ended when the file is complete
 * @throws {Error} when the archive does not hold the file, or ends within it
 */
export async function unpackTarball(input, name, output) {
  const blocks = readBytes(input.pipe(createGunzip()));
  for (;;) {
    const header = await blocks.take(BLOCK);
    if (header.every((byte) => byte === 0)) throw new Error(`${name} is not in the archive`);
    const size = Number.parseInt(text(header, 124, 12), 8);
    const padded = Math.ceil(size / BLOCK) * BLOCK;
    if (text(header, 0, 100) !== name) {
      await blocks.each(padded, () => {});
      continue;
    }
    await blocks.each(size, async (chunk) => {
      if (!output.write(chunk)) await once(output, "drain");
    });
    output.end();
    await once(output, "finish");
    input.destroy();
    return;
  }
}

function text(header, offset, length) {
  return header
    .toString("utf8", offset, offset + length)
    .split("\0")[0]
    .trim();
}

function readBytes(stream) {
  const iterator = stream[Symbol.asyncIterator]();
  let rest = Buffer.alloc(0);

  /** Calls `use` with the next `size` bytes, in pieces. */
  const each = async (size, use) => {
    let missing = size;
    while (missing > 0) {
      if (rest.length === 0) {
        const { value, done } = await iterator.next();
        if (done) throw new Error("the archive ends too early");
        rest = value;
      }
      const piece = rest.subarray(0, missing);
      rest = rest.subarray(piece.length);
      missing -= piece.length;
      await use(piece);
    }
  };
  const take = async (size) => {
    const pieces = [];
    await each(size, (piece) => void pieces.push(piece));
    return Buffer.concat(pieces);
  };
  return { each, take };
}

/**
 * npm and pnpm keep their files under the home folder; a user without one, such as `nobody`, gets `fallback`.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {string} fallback
 * @returns {NodeJS.ProcessEnv}
 */
export function withHome(env, fallback) {
  try {
    accessSync(homedir(), constants.W_OK);
    return env;
  } catch {
    mkdirSync(fallback, { recursive: true });
    // The cache is named apart: `npm test` hands its own choice, below the missing home, down in the environment.
    return { ...env, HOME: fallback, npm_config_cache: join(fallback, ".npm") };
  }
}

/** @param {NodeJS.ProcessEnv} env */
export function quietNpm(env) {
  return {
    ...env,
    npm_config_loglevel: "error",
    npm_config_update_notifier: "false",
    npm_config_fund: "false",
    npm_config_audit: "false",
    // Without a network, say so after seconds rather than minutes.
    npm_config_fetch_retry_mintimeout: "1000",
    npm_config_fetch_retry_maxtimeout: "4000",
  };
}

/**
 * Runs a program to its end with its output kept, for an error message only.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @param {string} cwd
 * @returns {Promise<{ code: number | null, output: string }>}
 */
export function run(program, args, env, cwd) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    // A signal to this process ends what it waits for too, and is then reported as that program's failure.
    const passOn = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM"];
    for (const signal of signals) process.on(signal, passOn);
    const finish = (code) => {
      for (const signal of signals) process.off(signal, passOn);
      resolve({ code, output });
    };
    child.on("error", (error) => {
      output = `${program}: ${error.message}`;
      finish(127);
    });
    child.on("close", (code, signal) => {
      if (signal !== null) output += `\n${program} was ended by ${signal}`;
      finish(code);
    });
  });
}

/** What failed, with the end of what the program said, and whether it looks like a missing network. */
export function explain(what, output) {
  const lines = output.split("\n").filter((line) => line.trim() !== "" && !/\bwarn\b|^npm error +at /i.test(line));
  const offline =
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|META_FETCH_FAIL|network/i.test(output);
  const advice = offline ? "\nThis needs the npm registry, once: please check the network or proxy and try again." : "";
  return `${what}:\n${lines.slice(-12).join("\n")}${advice}`;
}
