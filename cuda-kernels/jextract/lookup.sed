# Has a generated class look its functions up in the library that io.qlora.cuda.driver.NativeLibrary finds, on the first
# call, instead of in what happens to be loaded already. LIBRARY is replaced by the script.
/static final SymbolLookup SYMBOL_LOOKUP = SymbolLookup/{
N
s/static final SymbolLookup SYMBOL_LOOKUP = .*/static final SymbolLookup SYMBOL_LOOKUP = io.qlora.cuda.driver.NativeLibrary.LIBRARY;/
}
