"""Who agreed to an avatar, for what and until when: signed into its file, and asked for whenever one is opened to be shown (docs/consent.md)."""
