import { type CaProfile, CaProfileError, parseCaProfile } from "@fujie/certificates";
import type { EntryReader } from "../entry.ts";
import { readSourceUrl } from "../urls.ts";

export interface AuthoritySettings {
  readonly profile: CaProfile;
  /** Hosts that status may be fetched from although they are private or in clear text: the sandbox's own. */
  readonly allowHosts: readonly string[];
}

/** The fields of an entry of kind "ca". Throws SourcesFileError. */
export function readSettings(entry: EntryReader, { id }: { readonly id: string }): AuthoritySettings {
  readSourceUrl(entry, "url");
  const profile = readProfile(entry);
  if (profile.id !== id) return entry.fail("profileFile", "is the profile of another CA");
  const { ocspUrl, crlUrls } = profile.revocation;
  const urls = [...crlUrls, ...(ocspUrl === undefined ? [] : [ocspUrl])];
  return { profile, allowHosts: entry.flag("sandbox") ? urls.map((url) => new URL(url).host) : [] };
}

function readProfile(entry: EntryReader): CaProfile {
  const text = entry.file("profileFile").toString("utf8");
  try {
    return parseCaProfile(JSON.parse(text));
  } catch (error) {
    const problem = error instanceof CaProfileError ? error.message : "is no JSON";
    return entry.fail("profileFile", `holds no CA profile: ${problem}`);
  }
}
