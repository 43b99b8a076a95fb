/** The calendar of the truststore: when each CA's anchors and published issuing certificates end. */
import { type CaProfile, type Certificate, parseCertificate } from "@fujie/certificates";
import type { Clock } from "@fujie/kit/clock";
import type { Telemetry } from "@fujie/kit/telemetry";

interface Watched {
  readonly ca: string;
  readonly certificate: Certificate;
}

/** Shows for each certificate how long it lasts, in seconds; negative once it has ended, and with it every path over it. */
export function observeExpiry(
  profiles: readonly Pick<CaProfile, "id" | "anchors" | "intermediates">[],
  { observeGauge }: Pick<Telemetry, "observeGauge">,
  clock: Clock,
): Disposable {
  const watched = profiles.flatMap(({ id, anchors, intermediates }): Watched[] =>
    [...anchors, ...intermediates.map(parseCertificate)].map((certificate) => ({ ca: id, certificate })),
  );
  const stack = new DisposableStack();
  for (const { ca, certificate } of watched) {
    const secondsLeft = () => Math.floor((certificate.notAfter.getTime() - clock.nowMs()) / 1_000);
    const attributes = { source: ca, certificate: certificate.fingerprint.slice(0, 16) };
    stack.use(
      observeGauge("fujie.ca.anchor.expiry", "Until a CA's certificate ends, in seconds", secondsLeft, attributes),
    );
  }
  return stack;
}
