import { type CommonConfig, readServiceConfig, text } from "@fujie/kit/config";

const settings = {
  logOrigin: text({
    // A C2SP origin: a URL without a scheme, and usable as the name of a key.
    pattern: /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:\/[A-Za-z0-9._~-]+)*$/,
    kind: "origin of a log, such as log.example.cn/2026",
  })
    .default("fujie.audit/embedded")
    .doc("Name of the log in its checkpoints and signatures. It can never change once the log has begun."),
} as const;

export interface Config extends CommonConfig {
  readonly logOrigin: string;
}

/** Throws ConfigError that names every setting that is missing, unknown or malformed. */
export function readAuditConfig(env: NodeJS.ProcessEnv): Config {
  return readServiceConfig(env, settings);
}
