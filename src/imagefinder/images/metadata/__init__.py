"""Read what image files and their sidecar files say about images: EXIF, IPTC, XMP and Google Takeout."""
