// Raw Ed25519 keys (hex) whose models this page accepts; part of the page's code, never downloaded.
// For a run of your own:  python -c "print(open('runs/publisher.pub', 'rb').read().hex())"
export const TRUSTED = ["replace-with-64-hex-digits"];
