"""Small pieces that every room uses: whole files, sentences for users, advice on missing packages."""
