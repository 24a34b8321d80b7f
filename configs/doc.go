// Package configs holds Sallyport's configuration: its schema, its loading and
// its validation.
//
// [Load] and [Parse] go through these steps, and report everything they find
// wrong at once, as [Problems]:
//
//  1. A fresh viper, made for this load alone, takes the schema's defaults.
//  2. It reads the file through a strict decoder of ours instead of its own.
//     The decoder walks the YAML tree beside the schema's types, and hands on
//     only what fits: known keys, each once, with values of the right type.
//     Everything else becomes a [Problem] with its path and line.
//  3. Variables of the environment that begin with SALLYPORT_ override the
//     settings outside lists, as strictly typed as the file.
//  4. viper decodes the outcome into a [Config], without weak conversions.
//  5. Every struct of the schema validates itself, and what crosses structs is
//     checked: names, shared hosts, routes to pools, keys on tokens. A setting
//     that step 2 or 3 has complained about is not complained about again.
//  6. Relative paths become absolute, hosts take their canonical form.
//
// A Config that was returned is complete and is never changed afterwards: who
// wants another one loads again, and swaps it whole. No file that the
// configuration names is opened here.
//
// # Secrets
//
// A configuration says where a PIN is ([PINSource]), never what it is. Since
// operators make mistakes, no error of this package repeats what was written
// as a PIN, as any part of a key's URI, or as a value of an unknown key, and
// what the YAML library says is passed on only where it holds no text of the
// file.
package configs
