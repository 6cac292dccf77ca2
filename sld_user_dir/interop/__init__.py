"""Units of others: their files (`formats`), textless-lib (`textless`, `vocoders`), scikit-learn (`sklearn_kmeans`).

    their file → records → joined by id with transcripts and audio → unit manifest      (importing)
    unit manifest → records → their file                                                 (exporting)

`python -m sld_user_dir.interop.roundtrip` writes, reads and compares every format, and prints the table of
docs/interop.md.
"""
