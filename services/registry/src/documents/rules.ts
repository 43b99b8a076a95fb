/** How files of the accepted kinds begin. */
const BEGINNINGS: Readonly<Record<string, readonly number[]>> = {
  "image/jpeg": [0xff, 0xd8, 0xff],
  "image/png": [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
  "application/pdf": [0x25, 0x50, 0x44, 0x46, 0x2d],
};

/** Whether the bytes begin as their media type says: what is archived as an image must not be something else. */
export function beginsLike(mediaType: string, content: Uint8Array): boolean {
  const beginning = BEGINNINGS[mediaType];
  return beginning?.every((byte, i) => content[i] === byte) === true;
}
