"""Drop-ins for programs written for other TUN packages: `pytun_pmd3` and `pywintunx_pmd3`.

Import one under the name that the program knows, or replace it in `sys.modules`:

    import sys
    import wintun.compat.pytun_pmd3
    sys.modules["pytun_pmd3"] = wintun.compat.pytun_pmd3
"""
