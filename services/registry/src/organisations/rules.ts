import { type OrganisationName, parseOrganisationName, parseUscc, type Uscc } from "@fujie/identity";
import { fieldError } from "@fujie/kit/errors";

/** Reads what an organisation registers with (SZ-3.1). Throws USCC_INVALID, NAME_INVALID: the rule, never the value. */
export function readOrganisation(
  input: { readonly uscc: string; readonly name: string },
  options: { readonly allowFictional: boolean },
): { readonly uscc: Uscc; readonly name: OrganisationName } {
  const uscc = parseUscc(input.uscc, options);
  if (!uscc.ok) throw fieldError("USCC_INVALID", "uscc", uscc.reason);
  const name = parseOrganisationName(input.name);
  if (!name.ok) throw fieldError("NAME_INVALID", "name", name.reason);
  return { uscc: uscc.value, name: name.value };
}
