import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  compareNames,
  guardianshipOn,
  isFictionalRegion,
  isSelfDefinedOrganisationCode,
  knownCountyCodes,
  parseBankCard,
  parseCitizenId,
  parseOrganisationName,
  parsePersonName,
  parsePhone,
  parseUscc,
} from "@fujie/identity";
import {
  faceImageOf,
  guardianOf,
  LIKENESS_GOOD,
  lookupOrganisation,
  lookupPerson,
  NAMED_ORGANISATIONS,
  NAMED_PEOPLE,
  ORGANISATIONS_COUNT_MAX,
  organisationAt,
  PEOPLE_COUNT_MAX,
  personAt,
  type SyntheticPerson,
  similarityTo,
  syntheticOrganisations,
  syntheticPeople,
} from "./index.ts";

const OPTIONS = { today: "2026-01-01", allowFictional: true };

const people = [...Object.values(NAMED_PEOPLE).map((named) => named.person), ...syntheticPeople()];
const organisations = [
  ...Object.values(NAMED_ORGANISATIONS).map((named) => named.organisation),
  ...syntheticOrganisations(),
];

function digestOf(values: Iterable<unknown>): string {
  const hash = createHash("sha256");
  for (const value of values) hash.update(JSON.stringify(value)).update("\n");
  return hash.digest("hex");
}

function countDistinct<T>(values: readonly T[], keyOf: (value: T) => string): number {
  return new Set(values.map(keyOf)).size;
}

test("SZ-8.2 every synthetic person is valid, and the number tells the same birth date and sex", () => {
  assert.equal(people.length, 10_009);
  for (const person of people) {
    const parsed = parseCitizenId(person.citizenId, OPTIONS);
    assert.deepEqual(parsed, {
      ok: true,
      value: {
        number: person.citizenId,
        kind: "citizen-id",
        birthDate: person.birthDate,
        sex: person.sex,
        warnings: [],
      },
    });
    const name = parsePersonName(person.name);
    assert.equal(name.ok && name.value.name, person.name);
    assert.equal(parsePhone(person.phone).ok, true);
    assert.equal(parseBankCard(person.bankCard).ok, true);
  }
});

test("SZ-8.2 every synthetic organisation is valid and has a synthetic legal representative", () => {
  assert.equal(organisations.length, 2_006);
  for (const organisation of organisations) {
    const parsed = parseUscc(organisation.uscc, { allowFictional: true });
    assert.deepEqual(parsed.ok && parsed.value.warnings, []);
    const name = parseOrganisationName(organisation.name);
    assert.equal(name.ok && name.value.name, organisation.name);
    assert.ok(lookupPerson(organisation.legalRepresentativeCitizenId));
  }
});

test("SZ-8.2 numbers, phones, cards and codes are unique, at the far end of the range too", () => {
  const far = Array.from({ length: 1_000 }, (_, i) => personAt(PEOPLE_COUNT_MAX - 1 - i * 900));
  const all = [...people, ...far];
  for (const field of ["citizenId", "phone", "bankCard"] as const) {
    assert.equal(
      countDistinct(all, (person) => person[field]),
      all.length,
      field,
    );
  }
  assert.equal(
    countDistinct(organisations, (organisation) => organisation.uscc),
    organisations.length,
  );
});

test("SZ-8.2 nobody synthetic can be real: no county of any year has the code, and production refuses it", () => {
  const counties = new Set(knownCountyCodes());
  for (const { citizenId } of people) {
    assert.ok(isFictionalRegion(citizenId.slice(0, 6)));
    assert.ok(!counties.has(citizenId.slice(0, 6)));
    assert.deepEqual(parseCitizenId(citizenId, { today: OPTIONS.today }), { ok: false, reason: "fictional" });
  }
  for (const { uscc } of organisations) {
    assert.ok(isSelfDefinedOrganisationCode(uscc.slice(8, 17)));
    assert.ok(!counties.has(uscc.slice(2, 8)));
    assert.deepEqual(parseUscc(uscc), { ok: false, reason: "fictional" });
  }
  assert.ok(people.every((person) => person.phone.startsWith("154") && person.bankCard.startsWith("9999")));
});

test("SZ-8.2 the sets never change for a seed, and another seed gives others", () => {
  assert.equal(digestOf(people), "78407149dde3478cc1982836b5c7c5890f21e3b30c2297fad51925a521067921");
  assert.equal(digestOf(organisations), "f43afc8d7b742a2eb873da7d84662c1a29212e4c1a15233ec69e9b126365a20a");
  assert.deepEqual([...syntheticPeople({ count: 3, seed: 7 })], [personAt(0, 7), personAt(1, 7), personAt(2, 7)]);
  assert.notDeepEqual(personAt(0, 7), personAt(0));
  assert.notDeepEqual(organisationAt(0, 7), organisationAt(0));
});

test("SZ-8.2 what a developer types in never changes", () => {
  const numbers = Object.entries(NAMED_PEOPLE).map(([outcome, { person }]) => [outcome, person.citizenId, person.name]);
  assert.deepEqual(numbers, [
    ["match", "440399199003070014", "林知行"],
    ["mismatch", "440399198511200028", "陈明德"],
    ["no-record", "440399197806010032", "周远山"],
    ["outage", "440399199309090042", "吴云帆"],
    ["minor-under-14", "440399202202280051", "许星河"],
    ["lost-document", "440399198812120064", "何青禾"],
    ["expired-document", "440399198604180070", "高海棠"],
    ["cancelled-document", "440399198202160093", "郑晓岚"],
    ["name-variant", "440399199505250082", "刘䶮"],
  ]);
  const codes = Object.entries(NAMED_ORGANISATIONS).map(([outcome, { organisation }]) => [outcome, organisation.uscc]);
  assert.deepEqual(codes, [
    ["match", "91440399PDY9900179"],
    ["mismatch", "91440399PDY9900254"],
    ["no-record", "91440399PDY990033Y"],
    ["outage", "91440399PDY990041R"],
    ["deregistered", "91440399PDY99005XH"],
    ["revoked", "91440399PDY990068H"],
  ]);
});

test("SZ-8.2 each outcome's base holds what gives that outcome", () => {
  const comparisonFor = (person: SyntheticPerson) =>
    person.nameInBase === undefined ? "no-record" : compareNames(person.name, person.nameInBase);
  for (const person of people) {
    const { outcome } = person;
    const expected =
      outcome === "no-record"
        ? "no-record"
        : outcome === "mismatch"
          ? "different"
          : outcome === "name-variant"
            ? "possible-variant"
            : "same";
    assert.equal(comparisonFor(person), expected);
    const unusual = { "lost-document": "lost", "cancelled-document": "cancelled" } as const;
    const status = outcome === "lost-document" || outcome === "cancelled-document" ? unusual[outcome] : "valid";
    assert.equal(person.document.status, status);
    assert.equal(person.document.validUntil < OPTIONS.today, outcome === "expired-document");
    const isMinor = guardianshipOn(person.birthDate, OPTIONS.today) === "guardian-applies";
    assert.equal(isMinor, outcome === "minor-under-14");
  }
  for (const [outcome, { person }] of Object.entries(NAMED_PEOPLE)) assert.equal(person.outcome, outcome);
  for (const organisation of organisations) {
    const { outcome, name, nameInBase } = organisation;
    assert.equal(nameInBase === undefined, outcome === "no-record");
    assert.equal(nameInBase === name, outcome !== "mismatch" && outcome !== "no-record");
    assert.equal(organisation.status !== "active", outcome === "revoked" || outcome === "deregistered");
  }
});

test("SZ-8.2 the sets hold the cases that break systems, and every outcome", () => {
  const names = people.map((person) => person.name);
  assert.ok(names.some((name) => name.includes("\u00B7")));
  assert.ok(names.some((name) => [...name].length === 25));
  assert.ok(names.some((name) => /[\u{20000}-\u{3FFFF}]/u.test(name)));
  const bulk = [...syntheticPeople()].map((person) => person.outcome);
  assert.equal(new Set(bulk).size, 7, "all but the minor and the one whose document was cancelled");
  assert.equal(new Set([...syntheticOrganisations()].map((organisation) => organisation.outcome)).size, 6);
  assert.equal(new Set(organisations.map((organisation) => organisation.type)).size, 2);
});

test("lookups find everybody of the sets and nobody else", () => {
  for (const person of people) assert.deepEqual(lookupPerson(person.citizenId), person);
  for (const organisation of organisations) assert.deepEqual(lookupOrganisation(organisation.uscc), organisation);
  assert.equal(lookupPerson("11010519491231002X"), undefined);
  assert.equal(lookupOrganisation("91350100M000100Y43"), undefined);
});

test("an index outside the range is refused", () => {
  for (const index of [-1, 0.5, PEOPLE_COUNT_MAX, Number.NaN]) assert.throws(() => personAt(index), RangeError);
  for (const index of [-1, 0.5, ORGANISATIONS_COUNT_MAX]) assert.throws(() => organisationAt(index), RangeError);
});

test("SZ-8.2 faces are the same for ever, like their owner as well as they are taken, and like nobody else", () => {
  const { person } = NAMED_PEOPLE.match;
  const image = faceImageOf(person.citizenId);
  assert.equal(digestOf([[...image]]), "bc06b30cf9008d90c8cc463ecbb58c4aff0b0b483862e2bc4c3d1f55b37eb55f");
  assert.equal(similarityTo(person.citizenId, image), LIKENESS_GOOD);
  assert.equal(similarityTo(person.citizenId, faceImageOf(person.citizenId, 640)), 640);
  for (const other of people.slice(1, 200)) assert.ok(similarityTo(other.citizenId, image) < 300);
  for (const none of [new Uint8Array(), image.slice(0, 60), image.slice(1), new Uint8Array(Buffer.from("IDAT"))]) {
    assert.equal(similarityTo(person.citizenId, none), 0);
  }
});

test("NI-15 the minor's guardian is an adult of the set, and adults have none", () => {
  const ward = NAMED_PEOPLE["minor-under-14"].person.citizenId;
  const guardian = lookupPerson(guardianOf(ward) ?? "");
  assert.ok(guardian !== undefined && guardianshipOn(guardian.birthDate, OPTIONS.today) === "none");
  assert.equal(guardianOf(guardian.citizenId), undefined);
});
