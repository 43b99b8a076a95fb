import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { ArchiveService } from "@fujie/api/fujie/registry/v1/archive";
import { DocumentType } from "@fujie/api/fujie/registry/v1/counter";
import { OperatorRole } from "@fujie/api/fujie/registry/v1/operators";
import { appoint, appointStaff, archivePhoto, because, PHOTO, registerPerson, type Staff, somebody } from "./acts.ts";
import { type Claims, citizenId, startWorld, type World } from "./world.ts";

const SCOPE = "registry.archive.read";
const purpose = "complaint.review";

let world: World;
let staff: Staff;
let auditor: Claims;
before(async () => {
  world = await startWorld();
  staff = await appointStaff(world);
  const certificate = { caId: "ca-ecdsa", citizenId: citizenId(903) };
  const sub = await appoint(world, staff, certificate, OperatorRole.AUDIT_ADMINISTRATOR);
  auditor = { sub, kind: "operator", scope: SCOPE };
});
after(() => world[Symbol.asyncDispose]());

const archive = () => world.peer(ArchiveService);

test("SZ-4.5 archived documents are found by account and read with a purpose, and each read is recorded with it", async () => {
  const { registrationId, accountId } = await registerPerson(world, somebody(1));
  const first = await archivePhoto(world, staff.counter, registrationId);
  world.time.advance(1);
  const second = await archivePhoto(world, staff.counter, registrationId, { type: DocumentType.IDENTITY_DOCUMENT });
  await archivePhoto(world, staff.counter, (await registerPerson(world, somebody(2))).registrationId);

  for (const reader of [auditor, { ...staff.counter, scope: SCOPE }]) {
    const { documents } = await archive().listDocuments({ accountId, purpose }, world.as(reader));
    assert.deepEqual(
      documents.map(({ documentId, type }) => [documentId, type]),
      [
        [first, DocumentType.PERSON_WITH_DOCUMENT],
        [second, DocumentType.IDENTITY_DOCUMENT],
      ],
    );
    assert.deepEqual(documents[0]?.operatorId, staff.counter.sub);
  }
  const listed = await world.recorded("document.listed");
  assert.deepEqual([listed.subject, listed.purpose], [accountId, purpose]);
  assert.deepEqual(listed.details, { document_ids: `${first} ${second}` });

  const { document, content } = await archive().getDocument({ documentId: first, purpose }, world.as(auditor));
  assert.deepEqual(Buffer.from(content), PHOTO);
  assert.deepEqual(Buffer.from(document?.sha256 ?? []), createHash("sha256").update(PHOTO).digest());
  const read = await world.recorded("document.read");
  assert.deepEqual([read.actor, read.subject, read.purpose], [auditor.sub, accountId, purpose]);
  assert.deepEqual(read.details, { document_id: first, registration_id: registrationId });

  const { rows } = await world.admin.query<{ sealed: Buffer }>("SELECT content_sealed AS sealed FROM document");
  assert.ok(
    rows.every(({ sealed }) => !sealed.includes(PHOTO)),
    "the archive holds no readable bytes",
  );
});

test("SZ-4.5 without a purpose or the role nothing is read, and the refusal is recorded", async () => {
  const { registrationId, accountId } = await registerPerson(world, somebody(3));
  const documentId = await archivePhoto(world, staff.counter, registrationId);
  await assert.rejects(
    archive().listDocuments({ accountId, purpose: "" }, world.as(auditor)),
    because("PURPOSE_REQUIRED"),
  );
  const aimless = await world.recorded("document.listed", "REFUSED");
  assert.deepEqual([aimless.reason, aimless.actor], ["PURPOSE_REQUIRED", auditor.sub]);
  // A token may say what it likes: the registry's own record of the role counts.
  const pretender = { ...staff.system, scope: SCOPE };
  await assert.rejects(archive().getDocument({ documentId, purpose }, world.as(pretender)), because("SCOPE_MISSING"));
  const forbidden = await world.recorded("document.read", "REFUSED");
  assert.deepEqual([forbidden.reason, forbidden.actor], ["SCOPE_MISSING", staff.system.sub]);
  await assert.rejects(archive().getDocument({ documentId }, world.as(auditor)), because("PURPOSE_REQUIRED"));
  await assert.rejects(archive().listDocuments({ accountId, purpose }, world.as(pretender)), because("SCOPE_MISSING"));
  const person: Claims = { sub: accountId, kind: "person", level: 2, scope: SCOPE };
  await assert.rejects(archive().getDocument({ documentId, purpose }, world.as(person)), because("SCOPE_MISSING"));

  const nobody = randomUUID();
  await assert.rejects(
    archive().listDocuments({ accountId: nobody, purpose }, world.as(auditor)),
    because("ACCOUNT_NOT_FOUND"),
  );
  await assert.rejects(
    archive().getDocument({ documentId: nobody, purpose }, world.as(auditor)),
    because("DOCUMENT_NOT_FOUND"),
  );
  await assert.rejects(
    archive().getDocument({ documentId, purpose: "Just so!" }, world.as(auditor)),
    because("FIELD_INVALID"),
  );
  await world.admin.query("UPDATE document SET sha256 = decode(repeat('00', 32), 'hex')");
  await assert.rejects(archive().getDocument({ documentId, purpose }, world.as(auditor)), because("INTERNAL"));
});
