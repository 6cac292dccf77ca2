"""Units of others: their files in and out (`formats`), textless-lib (`textless`, `vocoders`), sklearn (`sklearn_kmeans`).

    their file → records → joined by id with transcripts and audio → unit manifest      (importing)
    unit manifest → records → their file                                                 (exporting)

`python -m sld_user_dir.interop` writes, reads and compares every format, and prints the table of docs/interop.md.
"""
